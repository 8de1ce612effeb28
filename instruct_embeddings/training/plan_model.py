"""The backbone of a run without its weights: its configuration alone, on torch's meta device."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.compat.transformers import is_causal
from instruct_embeddings.encoder.files import locate, read_json
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import SETTINGS_FILE
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.plan_memory import Architecture, ParameterCounts
from instruct_embeddings.training.settings import ALL_LINEAR, BackboneConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class PlannedModel:
    """What is known of a model before it is loaded.

    Attributes:
        found: Where its configuration was found.
        shape: Numbers of the backbone.
        counts: Its parameters.
        half_weights: Whether frozen weights have 2 bytes each.
        dimension: Length of an embedding.
    """

    found: str
    shape: Architecture
    counts: ParameterCounts
    half_weights: bool
    dimension: int


def plan_model(config: TrainingConfig) -> PlannedModel:
    """Build the encoder without weights and count its parameters.

    Raises:
        ModelNotFoundError: Its configuration is nowhere, and the file gives none.
        CheckpointError: It is no model that embeddings can be made of.
        ConfigError: Settings that do not fit the model.
    """
    backbone = config.backbone
    name = str(backbone.start) if backbone.start else config.model.base_model
    base, found = _find(name, config.model.base_revision, backbone)
    causal = is_causal(name, base.to_dict())
    model = _build(base, found, causal=causal, mlm=config.model.refinement.head == "mlm")
    with torch.device("meta"):
        encoder = InstEmb(Backbone(model, causal=causal), config.model)
    linear = lora_layers(model, backbone) if backbone.train == "lora" else {}
    depth = encoder.backbone.depth
    shape = replace(
        _shape(base, model, causal),
        adapted=len(linear) / depth,
        adapted_inputs=sum(part.in_features for part in linear.values()) / depth,
    )
    _check_loss(config, encoder)
    saved = getattr(base, "dtype", None)
    half = backbone.dtype == "bfloat16" or (
        backbone.dtype == "auto" and saved in (torch.bfloat16, torch.float16)
    )
    counts = replace(_counts(encoder, backbone, linear), teacher=_teacher(config, model))
    width = encoder.backbone.hidden_size
    refined = config.model.refinement.steps > 0
    dimension = width if refined else encoder.pooler.dimension
    return PlannedModel(found, shape, counts, half, dimension)


def lora_layers(model: nn.Module, backbone: BackboneConfig) -> dict[str, nn.Linear]:
    """The linear layers that LoRA layers are put beside, as peft chooses them.

    BERT's own pooler, which no pooling of ours reads, gets none.

    Raises:
        ConfigError: No layer has one of the names.
    """
    known: Any = model
    head = known.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    linear = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and part is not head and ".pooler." not in f".{name}"
    }
    if backbone.targets == ALL_LINEAR:
        return linear
    named = {
        name: part
        for name, part in linear.items()
        if any(name == target or name.endswith(f".{target}") for target in backbone.targets)
    }
    if not named:
        last = sorted({name.rpartition(".")[2] for name in linear})
        raise ConfigError(
            f"[backbone] targets={list(backbone.targets)} names no linear layer of the model; its "
            f"layers are called {last}. Use some of these, or {ALL_LINEAR!r}."
        )
    return named


def _find(
    name: str, revision: str | None, backbone: BackboneConfig
) -> tuple["PretrainedConfig", str]:
    """The configuration: from a folder or the cache, from `[backbone.architecture]`, the hub."""
    from transformers import AutoConfig

    options = replace(backbone.options(), local_files_only=True)
    try:
        place = locate(name, revision, options)
    except ModelNotFoundError:
        if backbone.architecture is not None:
            return _given(backbone.architecture), "[backbone.architecture]"
        return _from_hub(name, revision, backbone), "the model hub"
    settings_file = place.path / SETTINGS_FILE
    if settings_file.is_file():
        settings = EncoderSettings.from_dict(read_json(settings_file), origin=str(settings_file))
        if not settings.backbone:
            return _find(settings.base_model, settings.base_revision, backbone)
        place = replace(place, path=place.path / "backbone")
    try:
        return AutoConfig.from_pretrained(place.path, local_files_only=True), str(place.path)
    except (OSError, ValueError, KeyError, StrictDataclassError) as exc:
        raise CheckpointError(f"{str(place.path)!r} has no usable config.json: {exc}") from exc


def _given(values: Mapping[str, Any]) -> "PretrainedConfig":
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = values["model_type"]
    if kind not in CONFIG_MAPPING:
        close = get_close_matches(kind, list(CONFIG_MAPPING), n=3)
        raise ConfigError(
            f"[backbone.architecture] model_type={kind!r} is not known to transformers; similar "
            f"ones are {close}. Copy it from the config.json of the model."
        )
    try:
        found: PretrainedConfig = AutoConfig.for_model(**values)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as exc:
        raise ConfigError(
            f"[backbone.architecture] is no configuration that transformers knows: {exc} "
            "Copy the values from the config.json of the model."
        ) from exc
    return found


def _from_hub(name: str, revision: str | None, backbone: BackboneConfig) -> "PretrainedConfig":
    from transformers import AutoConfig

    try:
        found: PretrainedConfig = AutoConfig.from_pretrained(
            name,
            revision=revision,
            cache_dir=backbone.cache_folder,
            local_files_only=backbone.local_files_only,
        )
    except (OSError, ValueError) as exc:
        raise ModelNotFoundError(
            f"The configuration of {name!r} is neither in a folder nor in reach of the model hub. "
            f"Fetch the model where there is a network (hf download {name}), pass the folder of a "
            "copy, or give the values of its config.json in [backbone.architecture]."
        ) from exc
    return found


def _build(config: "PretrainedConfig", found: str, *, causal: bool, mlm: bool) -> "PreTrainedModel":
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    kind: Any = AutoModelForCausalLM if causal else AutoModelForMaskedLM if mlm else AutoModel
    try:
        with torch.device("meta"):
            return kind.from_config(config)  # type: ignore[no-any-return]
    except (ValueError, TypeError, AttributeError, RuntimeError) as exc:
        # Values of the wrong type, which older versions of transformers read without a word.
        raise ConfigError(
            f"{found} is no configuration that transformers builds a model of: {exc} "
            "Copy the values from the config.json of the model."
        ) from exc


def _shape(config: Any, model: nn.Module, causal: bool) -> Architecture:
    heads, hidden = config.num_attention_heads, config.hidden_size
    each = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    # The two halves of a gated layer are two matrices, or one of twice the width.
    gated = any(
        name.endswith("gate_proj") or getattr(part, "out_features", 0) == 2 * inner
        for name, part in model.named_modules()
    )
    return Architecture(
        hidden=hidden,
        layers=config.num_hidden_layers,
        heads=heads,
        queries=heads * each,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * each,
        inner=inner,
        gated=gated,
        vocabulary=config.vocab_size,
        causal=causal,
        head_norms=any(name.endswith("q_norm") for name, _ in model.named_modules()),
    )


def _counts(
    encoder: InstEmb, backbone: BackboneConfig, linear: Mapping[str, nn.Linear]
) -> ParameterCounts:
    body = encoder.backbone
    every = sum(value.numel() for value in body.model.parameters())
    embeddings = sum(value.numel() for value in body.body.get_input_embeddings().parameters())
    frozen = every
    if backbone.train == "full":
        frozen = embeddings if backbone.freeze_embeddings else 0
    return ParameterCounts(
        frozen=frozen,
        embeddings=embeddings,
        backbone=every - frozen,
        # Two matrices beside each layer: rank x inputs and outputs x rank.
        lora=sum(
            backbone.rank * (part.in_features + part.out_features) for part in linear.values()
        ),
        own=sum(value.numel() for value in encoder.own_parameters().values()),
    )


def _teacher(config: TrainingConfig, model: nn.Module) -> int:
    """Parameters of a teacher in memory beside the student."""
    name = config.loss.distillation.teacher if config.loss.distillation else ""
    if name:
        base, found = _find(name, None, replace(config.backbone, architecture=None))
        model = _build(base, found, causal=is_causal(name, base.to_dict()), mlm=False)
    elif config.backbone.train != "full":
        return 0
    return sum(value.numel() for value in model.parameters())


def _check_loss(config: TrainingConfig, encoder: InstEmb) -> None:
    sizes = config.loss.matryoshka
    if sizes is not None and max(sizes.dimensions) > encoder.pooler.dimension:
        raise ConfigError(
            f"[loss.matryoshka] dimensions={list(sizes.dimensions)}, and an embedding has "
            f"{encoder.pooler.dimension}. Use at most that many."
        )
