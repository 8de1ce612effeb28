"""The encoder in training: what is trainable, and what one forward pass gives to the losses."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from instruct_embeddings._extras import require
from instruct_embeddings.encoder.checkpoint import write_checkpoint
from instruct_embeddings.encoder.loading import load_model, load_tokenizer, make_template, quiet
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.pooling import PoolInputs, last_token_pool, soft_prompt_pool
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import ModelSource, find_source
from instruct_embeddings.encoder.template import Template, TokenBatch
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.settings import ALL_LINEAR, BackboneConfig

# Keys of what a forward pass gives; those of a second one have AGAIN in front.
POOLED, SOFT, PRIMARY, GENERIC = "pooled", "soft", "primary", "generic"
AGAIN = "again_"


@dataclass(frozen=True)
class Student:
    """An encoder that is being trained."""

    model: InstEmb  # backbone with its trainable layers, soft prompts, pooler
    source: ModelSource  # what it was made of
    template: Template  # tokenises for it
    device: str
    full: bool  # the backbone itself is trained, so that a checkpoint must hold it

    def save(self, folder: Path) -> Path:
        """Write a checkpoint that `InstructEncoder.from_pretrained` loads."""
        tokenizer = self.template.tokenizer
        with quiet():
            return write_checkpoint(folder, self.model, tokenizer, self.source, backbone=self.full)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Parameters that are trained, by name."""
        named = self.model.named_parameters()
        return {name: value for name, value in named if value.requires_grad and value.numel()}


def make_student(
    settings: EncoderSettings, backbone: BackboneConfig, *, device: str, seed: int
) -> Student:
    """Load a backbone, or the checkpoint to continue from, and choose what is trained.

    The seed is that of soft prompts, poolers and LoRA layers. A checkpoint to continue from must
    have the shapes of the settings.
    """
    start = backbone.start
    options = replace(
        backbone.options(device),
        model=str(start or settings.base_model),
        revision=None if start else settings.base_revision,
    )
    source = find_source(options)
    if start:
        _check_start(source, settings, backbone)
    adapted, whole = source.adapter is not None, source.checkpoint and source.settings.backbone
    source = replace(source, settings=replace(settings, adapter=adapted, backbone=whole))
    torch.manual_seed(seed)
    model = load_model(source, options)
    if not source.checkpoint:
        model = InstEmb(model.backbone, source.settings, seed=seed, folder=source.folder).to(device)
    prepare(model, backbone)
    template = make_template(source, load_tokenizer(source, options))
    return Student(model, source, template, device, backbone.train == "full")


def prepare(model: InstEmb, config: BackboneConfig) -> None:
    """Choose what of a model is trained, and how; the model may lie on the meta device."""
    model.requires_grad_(False)
    _open_backbone(model, config)
    model.soft_prompts.requires_grad_(True)
    model.pooler.requires_grad_(True)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = config.dropout
        # Attention of Llama and its kind has a number instead of a layer.
        if isinstance(getattr(part, "attention_dropout", None), float):
            part.attention_dropout = config.dropout  # type: ignore[assignment]
    if config.gradient_checkpointing:
        body: Any = model.backbone.body
        arguments = {"use_reentrant": False}
        # Newer versions of transformers have another name for it, and warn of the old one.
        if hasattr(body, "activation_checkpointing_enable"):
            body.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
        else:
            body.gradient_checkpointing_enable(arguments)


class Passes(nn.Module):
    """What the losses need of one forward pass of the student.

    With `again` each row is read a second time under another dropout (SimCSE).
    """

    def __init__(self, model: InstEmb, *, again: bool = False) -> None:
        super().__init__()
        self.model, self.again = model, again

    def forward(self, batch: TokenBatch, plain: TokenBatch | None = None) -> dict[str, Tensor]:
        """Read rows with their instruction, and `plain` ones where the generic space is to be kept.

        Returns:
            "pooled", shape (s, b, D): embeddings after each of s steps of refinement, 1 without;
            "primary" and "soft", shape (b, d): the two anchors, without refinement;
            "again_pooled" and so on, of a second pass; "generic", shape (b, d).
        """
        out = self._read(batch)
        if self.again:
            second = self._read(batch)
            out |= {f"{AGAIN}{name}": states for name, states in second.items()}
        if plain is not None:
            out[GENERIC] = self.model.generic(plain)[0]
        return out

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        refined = self.model.settings.refinement.steps > 0
        return self.model.backbone.hidden_size if refined else self.model.pooler.dimension

    def embed(self, batch: TokenBatch) -> Tensor:
        """The embeddings alone, not normalised, shape (b, D), float32."""
        steps = self.model.settings.refinement.steps
        return self.model(batch, refine_steps=steps)[-1].float()  # type: ignore[no-any-return]

    def _read(self, batch: TokenBatch) -> dict[str, Tensor]:
        model, soft = self.model, batch.soft_prompts
        if steps := model.settings.refinement.steps:
            return {POOLED: model(batch, refine_steps=steps)}
        hidden = model.backbone(model.embed_inputs(batch) if soft else batch.ids, batch.mask)
        pooled = model.pooler(PoolInputs(hidden, batch.mask, batch.last, soft))
        out = {POOLED: pooled[None], PRIMARY: last_token_pool(hidden, batch.last)}
        if soft:
            out[SOFT] = soft_prompt_pool(hidden, batch.last, soft)
        return out


def _check_start(source: ModelSource, settings: EncoderSettings, backbone: BackboneConfig) -> None:
    """Refuse a start that would silently become something else."""
    start, base = f"[backbone] start={str(backbone.start)!r}", source.settings.base_model
    if not source.checkpoint:
        raise ConfigError(
            f"{start} is a plain model, not a checkpoint of an encoder. Name it as [model] "
            "base_model, and leave start out."
        )
    if base != settings.base_model:
        raise ConfigError(
            f"{start} was trained over {base!r}, and [model] base_model={settings.base_model!r}. "
            f"Name {base!r} there."
        )
    if backbone.train == "full" and source.adapter is not None:
        raise ConfigError(
            f'{start} has LoRA layers, which train="full" would train beside the weights under '
            'them. Use train="lora".'
        )


def _open_backbone(model: InstEmb, config: BackboneConfig) -> None:
    """Make the chosen layers trainable."""
    inner = model.backbone.model
    if config.train == "full":
        inner.requires_grad_(True)
        if config.freeze_embeddings:
            model.backbone.body.get_input_embeddings().requires_grad_(False)
    if config.train != "lora":
        return
    if not hasattr(inner, "peft_config"):
        model.backbone.model = _with_lora(inner, config)
    for name, value in model.backbone.model.named_parameters():
        if "lora_" in name:
            # A bfloat16 weight swallows the small steps of an optimiser.
            value.data = value.data.float()
            value.requires_grad_(True)


def _with_lora(model: nn.Module, config: BackboneConfig) -> Any:
    peft = require("peft")
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    # The pooler of BERT is not read by any pooling of ours. peft warns where it finds none.
    unread = [
        name
        for name, _ in model.named_modules()
        if ".pooler." in f".{name}."
        and (targets == ALL_LINEAR or name.rpartition(".")[2] in targets)
    ]
    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        exclude_modules=unread or None,
    )
    with warnings.catch_warnings():
        # What peft still uses of transformers our users cannot change.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return peft.get_peft_model(model, lora)
        except ValueError as exc:
            linear = (n for n, part in model.named_modules() if isinstance(part, nn.Linear))
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"[backbone] targets={targets!r} names no linear layer of the model; its layers "
                f"are called {known}. Use some of these, or {ALL_LINEAR!r}."
            ) from exc
