"""The arguments of `InstructEmbedding`: every one a declared field, checked when it is set."""

import os
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, field_validator, model_validator
from llama_index.core.storage.kvstore.types import BaseKVStore

from instruct_embeddings.config import check_instruction
from instruct_embeddings.encoder import DEFAULT_MODEL, EncoderOptions
from instruct_embeddings.encoder.options import DataType, Precision, Side
from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings.cache import SeparateCache

# What the arguments of LlamaIndex's HuggingFaceEmbedding are called here.
_RENAMED = {
    "max_length": "max_tokens",
    "model": "model_name",
    "parallel_process": "devices",
    "show_progress_bar": "show_progress",
    "target_devices": "devices",
    "text_instruction": "document_instruction",
    "torch_dtype": "dtype",
}


class EmbeddingArguments(BaseEmbedding):
    """What can be set; LlamaIndex builds copies, workers and hashes of caches from it.

    Whatever vectors depend on is frozen.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    model_name: str = Field(DEFAULT_MODEL, frozen=True, description="Hub id or folder.")
    query_instruction: str | None = Field(None, frozen=True, description="For queries.")
    document_instruction: str | None = Field(None, frozen=True, description="For documents.")
    show_progress: bool = Field(False, description="Show a bar for documents.")
    embed_batch_size: int = Field(2048, gt=0, le=2048, description="Texts of one call.")

    revision: str | None = Field(None, frozen=True, description="Branch, tag or commit.")
    adapter: str | None = Field(None, frozen=True, description="LoRA adapter.")
    device: str | None = Field(None, frozen=True, description="A torch device.")
    devices: tuple[str, ...] = Field((), frozen=True, description="Devices of worker processes.")
    dtype: DataType = Field("auto", frozen=True, description="Type of weights and arithmetic.")
    attn_implementation: str | None = Field(None, frozen=True, description="Kind of attention.")
    compile: bool = Field(False, frozen=True, description="Use torch.compile.")
    batch_size: int | None = Field(None, frozen=True, description="Texts of a forward pass.")
    batch_tokens: int | None = Field(None, frozen=True, description="Tokens of a forward pass.")
    padding_side: Side | None = Field(None, frozen=True, description="Where rows are filled.")
    max_tokens: int | None = Field(None, frozen=True, description="Most tokens of a row.")
    template: str | None = Field(None, frozen=True, description="Order of instruction and text.")
    normalize: bool = Field(True, frozen=True, description="Scale to unit length.")
    truncate_dim: int | None = Field(None, frozen=True, description="Dimensions to keep.")
    truncate_layers: int | None = Field(None, frozen=True, description="Layers to run.")
    precision: Precision = Field("float32", frozen=True, description="Numbers of the result.")
    refine_steps: int | None = Field(None, frozen=True, description="Steps of refinement.")
    cache_folder: str | None = Field(None, frozen=True, description="Files of the model hub.")
    local_files_only: bool = Field(False, frozen=True, description="Never ask the model hub.")
    trust_remote_code: bool = Field(False, frozen=True, description="Run the model's own code.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, arguments: Any) -> Any:
        if not isinstance(arguments, dict):
            return arguments
        if unknown := sorted(set(arguments) - set(cls.model_fields)):
            raise ConfigError(
                f"{cls.__name__} has no argument {', '.join(map(_with_hint, unknown))}. "
                f"It has {', '.join(sorted(cls.model_fields))}. Correct the names."
            )
        return arguments

    @field_validator("model_name", "adapter", "cache_folder", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("model_name", mode="before")
    @classmethod
    def _default_model(cls, value: Any) -> Any:
        return DEFAULT_MODEL if value is None else value

    @field_validator("query_instruction", "document_instruction")
    @classmethod
    def _instruction(cls, value: str | None) -> str | None:
        return None if value is None else check_instruction(value)

    @field_validator("embeddings_cache")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        wrap = isinstance(value, BaseKVStore) and not isinstance(value, SeparateCache)
        return SeparateCache(value) if wrap else value

    def options(self) -> EncoderOptions:
        """Those arguments that the encoder takes."""
        names = [field.name for field in fields(EncoderOptions) if field.name != "model"]
        return EncoderOptions(
            model=self.model_name, **{name: getattr(self, name) for name in names}
        )


def _with_hint(name: str) -> str:
    """A name that does not exist, with the one that was probably meant."""
    close = get_close_matches(name, EmbeddingArguments.model_fields, n=1)
    meant = _RENAMED.get(name) or (close[0] if close else None)
    return f"{name!r} (use {meant!r})" if meant else repr(name)
