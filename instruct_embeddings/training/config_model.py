"""Settings of the backbone: what of it is trained, and how it is found and run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import EncoderOptions, is_bool, one_of
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training._tables import (
    as_names,
    as_number,
    as_path,
    as_share,
    as_table,
    as_text,
)

_WHERE = "[backbone]"
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class BackboneConfig:
    """What of the backbone is trained: `[backbone]`.

    Attributes:
        train: "lora": LoRA layers; "full": its own weights; "none": soft prompts and pooler only.
        rank: Rank of the LoRA layers.
        alpha: Their scale is alpha / rank.
        dropout: Of the backbone and of LoRA layers; replaces what the base model was trained with.
        targets: "all-linear": every linear layer but output heads, or names of layers, such as
            ["query", "value"].
        dtype: Type of frozen weights. Trained ones are kept in float32.
        attention: Attention of transformers, such as "sdpa" or "eager"; by default the best one.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        start: Folder of a checkpoint of ours to continue from.
        freeze_embeddings: With "full": leave the matrix of token embeddings as it is.
        local_files_only: Never ask the model hub.
        cache_folder: Where the hub's files are kept.
        architecture: Configuration values of the base model, `model_type` among them, for a dry run
            where the model itself is not at hand.
    """

    train: Literal["lora", "full", "none"] = "lora"
    rank: int = 64
    alpha: float = 64.0
    dropout: float = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    attention: str | None = None
    gradient_checkpointing: bool = False
    start: Path | None = None
    freeze_embeddings: bool = True
    local_files_only: bool = False
    cache_folder: str | None = None
    architecture: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        one_of(f"{_WHERE} train", self.train, ("lora", "full", "none"))
        one_of(f"{_WHERE} dtype", self.dtype, ("auto", "float32", "bfloat16"))
        at_least(f"{_WHERE} rank", self.rank, 1, optional=False)
        as_number(self, _WHERE, "alpha", above=0.0, low=0.0)
        as_share(self, _WHERE, "dropout")
        for name in ("gradient_checkpointing", "freeze_embeddings", "local_files_only"):
            is_bool(f"{_WHERE} {name}", getattr(self, name))
        for name in ("attention", "cache_folder"):
            if getattr(self, name) is not None:
                as_text(self, _WHERE, name)
        if self.start is not None:
            as_path(self, _WHERE, "start")
        self._check_targets()
        self._check_architecture()
        if self.train == "full" and self.dtype != "float32":
            raise ConfigError(
                f'{_WHERE} dtype={self.dtype!r} with train="full": small steps would be rounded '
                'away from the trained weights. Use dtype="float32", with [run] '
                'precision="bfloat16" for speed.'
            )

    def options(self, device: str | None = None) -> EncoderOptions:
        """How the encoder finds and runs the backbone."""
        return EncoderOptions(
            device=device,
            dtype=self.dtype,
            attn_implementation=self.attention,
            cache_folder=self.cache_folder,
            local_files_only=self.local_files_only,
        )

    def _check_targets(self) -> None:
        if self.targets == ALL_LINEAR:
            return
        if isinstance(self.targets, str):
            raise ConfigError(
                f"{_WHERE} targets={self.targets!r} is a bare string. Use {ALL_LINEAR!r}, or a "
                f"list of names of layers: [{self.targets!r}]."
            )
        as_names(self, _WHERE, "targets")
        if not self.targets:
            raise ConfigError(
                f"{_WHERE} targets=[] names no layer. Use {ALL_LINEAR!r}, or "
                'train="none" for no LoRA layers.'
            )

    def _check_architecture(self) -> None:
        if self.architecture is None:
            return
        table = as_table(self.architecture, "[backbone.architecture]")
        if not isinstance(table.get("model_type"), str):
            raise ConfigError(
                f"[backbone.architecture] model_type={table.get('model_type')!r} is no model type "
                "of transformers. Copy the values from the config.json of the model."
            )
