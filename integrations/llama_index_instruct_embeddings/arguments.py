"""The arguments of `InstructEmbedding`: every one a declared field, checked when it is set."""

import logging
import os
import pickle
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.storage.kvstore.types import BaseKVStore
from pydantic import AfterValidator
from typing_extensions import Unpack

from instruct_embeddings.config import optional_instruction
from instruct_embeddings.encoder import (
    DEFAULT_MODEL,
    EncoderArguments,
    EncoderOptions,
    option_fields,
)
from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings.cache import SeparateCache

logger = logging.getLogger(__name__)

_Instruction: TypeAlias = Annotated[str | None, AfterValidator(optional_instruction)]

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


if TYPE_CHECKING:
    _Options = BaseEmbedding
else:  # every option of the encoder is a frozen field of the same name, type and default
    _Options = create_model(
        "_Options",
        __base__=BaseEmbedding,
        **{
            name: (kind, Field(value, frozen=True))
            for name, (kind, value) in option_fields().items()
        },
    )


class EmbeddingArguments(_Options):
    """What can be set; LlamaIndex builds copies, workers and hashes of caches from it.

    Whatever vectors depend on is frozen.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    model_name: str = Field(DEFAULT_MODEL, frozen=True, description="Hub id or folder.")
    query_instruction: _Instruction = Field(default=None, frozen=True, description="For queries.")
    document_instruction: _Instruction = Field(
        default=None, frozen=True, description="For documents."
    )
    show_progress: bool = Field(False, description="Show a bar for documents.")
    embed_batch_size: int = Field(2048, gt=0, le=2048, description="Texts of one call.")

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model_name: str | os.PathLike[str] | None = None,
            query_instruction: str | None = None,
            document_instruction: str | None = None,
            show_progress: bool = False,
            embed_batch_size: int = 2048,
            num_workers: int | None = None,
            callback_manager: CallbackManager | None = None,
            embeddings_cache: BaseKVStore | None = None,
            **options: Unpack[EncoderArguments],
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, arguments: Any) -> Any:
        if unknown := sorted(set(arguments) - set(cls.model_fields)):
            raise ConfigError(
                f"{cls.__name__} has no argument {', '.join(map(_with_hint, unknown))}. "
                f"It has {', '.join(sorted(cls.model_fields))}. Correct the names."
            )
        return arguments

    @field_validator("model_name", "adapter", "cache_folder", mode="before")
    @classmethod
    def _path(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name == "model_name":
            return DEFAULT_MODEL
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("embeddings_cache")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        wrap = isinstance(value, BaseKVStore) and not isinstance(value, SeparateCache)
        return SeparateCache(value) if wrap else value

    def __getstate__(self) -> dict[Any, Any]:
        """The arguments alone, without those objects of the host that cannot be pickled.

        LlamaIndex's own method pickles the model for a test, and removes from the live object what
        fails.
        """
        arguments = dict(self)
        for name in BaseEmbedding.model_fields:
            try:
                pickle.dumps(arguments[name])
            except Exception as exc:
                logger.warning("%s cannot be pickled and is left out: %s", name, exc)
                del arguments[name]
        return {"__dict__": arguments}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def options(self) -> EncoderOptions:
        """Those arguments that the encoder takes."""
        chosen = {name: getattr(self, name) for name in option_fields()}
        return EncoderOptions(model=self.model_name, **chosen)


def _with_hint(name: str) -> str:
    """A name that does not exist, with the one that was probably meant."""
    close = get_close_matches(name, EmbeddingArguments.model_fields, n=1)
    meant = _RENAMED.get(name) or (close[0] if close else None)
    return f"{name!r} (use {meant!r})" if meant else repr(name)
