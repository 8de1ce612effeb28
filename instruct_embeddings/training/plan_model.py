"""The model of a run without its weights: its configuration alone, on torch's meta device.

Parameters are counted there, and so are activations: autograd says what a forward pass keeps.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from instruct_embeddings._reading import brief
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.source import find_source, is_causal
from instruct_embeddings.encoder.template import TokenBatch
from instruct_embeddings.errors import ConfigError, ModelNotFoundError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.objective import check_dimensions
from instruct_embeddings.training.settings import BackboneConfig
from instruct_embeddings.training.student import Passes, prepare

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What transformers raises for values of a config.json that it cannot use, by its version.
_UNUSABLE = (AttributeError, KeyError, RuntimeError, StrictDataclassError, TypeError, ValueError)


@dataclass(frozen=True)
class ParameterCounts:
    """How many parameters there are."""

    frozen: int  # of the backbone, not trained
    embeddings: int  # of the matrix of token embeddings
    backbone: int  # of the backbone itself, trained
    lora: int  # of LoRA layers
    own: int  # of soft prompts and pooler
    teacher: int = 0  # of a teacher that is not the student's own backbone

    @property
    def trained(self) -> int:
        """All that are trained."""
        return self.backbone + self.lora + self.own


@dataclass(frozen=True)
class PlannedModel:
    """What is known of a model before it is loaded."""

    found: str  # where its configuration was found
    counts: ParameterCounts
    half_weights: bool  # whether frozen weights have 2 bytes each
    dimension: int  # of an embedding
    # Bytes that are kept for the backward pass of rows of the full length; None for a model that
    # does not run on the meta device.
    activations: int | None
    recomputed: int = 0  # bytes of the layer that gradient checkpointing computes again


def plan_model(config: TrainingConfig) -> PlannedModel:
    """Build the encoder without weights, count its parameters and its activations."""
    backbone, name = config.backbone, str(config.backbone.start or config.model.base_model)
    revision = None if backbone.start else config.model.base_revision
    base, found = _find(name, revision, backbone, config.model.base_model)
    half = backbone.dtype == "bfloat16" or (
        backbone.dtype == "auto" and getattr(base, "dtype", None) in (torch.bfloat16, torch.float16)
    )
    if backbone.attention:
        base._attn_implementation = backbone.attention
    causal = is_causal(name, base.to_dict())
    model = _build(base, found, causal=causal)
    with torch.device("meta"):
        encoder = InstEmb(Backbone(model, causal=causal), config.model)
        prepare(encoder, replace(backbone, gradient_checkpointing=False))
    passes = Passes(encoder, again="dropout" in config.loss.views).train()
    check_dimensions(config.loss, passes.width)
    counts = _counts(config, encoder)
    if half or config.run.precision == "bfloat16":
        encoder.to(torch.bfloat16)
    kept, again = _activations(config, passes), 0
    if backbone.gradient_checkpointing:
        prepare(encoder, backbone)
        again, kept = (kept or 0) // encoder.backbone.depth, _activations(config, passes)
    return PlannedModel(found, counts, half, passes.width, kept, again)


class _OnMeta(TorchFunctionMode):
    """Takes branches on the meta device as rows without padding do, and fused kernels as a GPU."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self._fused = fused

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.Tensor.__bool__, torch.Tensor.item):
            return True
        if self._fused and func is functional.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args[:3])[0]
        given = kwargs or {}
        if self._fused and func is functional.dropout:
            rate = args[1] if args[1:] else given.get("p", 0.5)
            return torch.native_dropout(args[0], 0.5, True)[0] if rate else args[0]
        return func(*args, **given)


def _activations(config: TrainingConfig, passes: Passes) -> int | None:
    """Bytes that autograd keeps of one forward pass, apart from parameters."""
    rows, tokens = config.run.chunk or config.data.batch_size, config.model.max_tokens
    ids = torch.zeros(rows, tokens, dtype=torch.int64, device="meta")
    batch = TokenBatch(ids, torch.ones_like(ids), ids[:, 0], config.model.soft_prompts)
    plain = replace(batch, soft_prompts=0) if config.loss.drift else None
    parameters = {value.untyped_storage()._cdata for value in passes.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()._cdata
        if storage not in parameters:
            kept[storage] = saved
        return saved

    # On a processor attention with dropout keeps its weights.
    fused = not (config.backbone.dropout > 0 and config.run.device == "cpu")
    try:
        with _OnMeta(fused=fused), saved_tensors_hooks(keep, lambda saved: saved):
            outputs = passes(batch, plain)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    del outputs
    return sum(saved.untyped_storage().nbytes() for saved in kept.values())


def _find(
    name: str, revision: str | None, backbone: BackboneConfig, base: str
) -> tuple["PretrainedConfig", str]:
    """The configuration: from a folder or the cache, from `[backbone.architecture]`, the hub."""
    from transformers import AutoConfig

    local = replace(backbone.options(), model=name, revision=revision, local_files_only=True)
    try:
        found = str(find_source(local).base.path)
    except ModelNotFoundError:
        found = "[backbone.architecture]" if backbone.architecture is not None else "the model hub"
    try:
        if found == "[backbone.architecture]":
            return AutoConfig.for_model(**(backbone.architecture or {})), found
        if found != "the model hub":
            return AutoConfig.from_pretrained(found, local_files_only=True), found
        return AutoConfig.from_pretrained(
            base,
            revision=revision,
            cache_dir=backbone.cache_folder,
            local_files_only=backbone.local_files_only,
        ), found
    except OSError as exc:
        raise ModelNotFoundError(
            f"The configuration of {base!r} is neither in a folder nor in reach of the model hub. "
            f"Fetch the model where there is a network (hf download {base}), pass the folder of a "
            "copy, or give the values of its config.json in [backbone.architecture]."
        ) from exc
    except _UNUSABLE as exc:
        raise _unusable(found, exc) from exc


def _unusable(found: str, exc: Exception) -> ConfigError:
    return ConfigError(
        f"{found} has no configuration that transformers builds a model of ({brief(exc)}). Copy "
        "the values from the config.json of the model."
    )


def _build(config: "PretrainedConfig", found: str, *, causal: bool) -> "PreTrainedModel":
    from transformers import AutoModel, AutoModelForCausalLM

    kind: Any = AutoModelForCausalLM if causal else AutoModel
    try:
        with torch.device("meta"):
            return kind.from_config(config)  # type: ignore[no-any-return]
    except _UNUSABLE as exc:
        raise _unusable(found, exc) from exc


def _counts(config: TrainingConfig, encoder: InstEmb) -> ParameterCounts:
    sizes: Counter[str] = Counter()
    for name, value in encoder.backbone.named_parameters():
        kind = "lora" if "lora_" in name else "backbone" if value.requires_grad else "frozen"
        sizes[kind] += value.numel()
    teacher = _size(encoder.backbone) if config.backbone.train == "full" else 0
    if config.loss.distillation and (other := config.loss.distillation.teacher):
        base, found = _find(other, None, replace(config.backbone, architecture=None), other)
        teacher = _size(_build(base, found, causal=is_causal(other, base.to_dict())))
    return ParameterCounts(
        frozen=sizes["frozen"],
        embeddings=_size(encoder.backbone.body.get_input_embeddings()),
        backbone=sizes["backbone"],
        lora=sizes["lora"],
        own=sum(value.numel() for value in encoder.own_parameters().values()),
        teacher=teacher,
    )


def _size(model: Any) -> int:
    return sum(value.numel() for value in model.parameters())
