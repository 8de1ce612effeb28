"""`InstructEmbedding`: embeddings under an instruction, as LlamaIndex's embedding model."""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from typing_extensions import Self

from instruct_embeddings.encoder import check_texts
from instruct_embeddings.instant import SharedEncoder, TwoSided, TwoSidedEncoder
from llama_index_instruct_embeddings.arguments import EmbeddingArguments
from llama_index_instruct_embeddings.cache import SeparateCache, Vector


class InstructEmbedding(TwoSided, EmbeddingArguments):
    """Embeddings under an instruction, with any Hugging Face backbone.

    An instruction is a plain sentence that says in what respect texts should be similar. Without
    one, embeddings are those of the backbone itself. Arguments cannot be changed later;
    `with_instruction` makes a copy.

    Setup:
        `pip install "instruct-embeddings[llama-index,offline]"`

    Key init args:
        model_name: Hub id, folder of a Hugging Face model or of a saved encoder. By default
            instruct-minilm-l6-v1, which comes with this package.
        query_instruction, document_instruction: Sentences; `None` is the generic embedding. With
            one for queries alone, the default model moves the generic vector of the query.
        show_progress: A bar on stderr for documents, never for a query.
        embed_batch_size: Texts of one call of LlamaIndex; `batch_tokens` limits memory.
        embeddings_cache: Key-value store, in which models, instructions and roles are kept apart.
        device, dtype, truncate_dim, precision and so on: All of
            `instruct_embeddings.encoder.EncoderOptions`. "int8" gives whole numbers, "binary" 1.0
            and -1.0: compare both by cosine.

    Instantiate:
        ```python
        from llama_index.core import Settings
        from llama_index_instruct_embeddings import InstructEmbedding

        about = "What is this ticket about?"
        Settings.embed_model = InstructEmbedding(
            document_instruction=about, query_instruction=about
        )
        ```

    Usage:
        ```python
        by_tone = Settings.embed_model.with_instruction("How does the customer sound?")
        ```

        Weights are loaded at the first use and shared; `close()` frees the memory.
    """

    _shared: SharedEncoder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Describe the encoder; nothing is read before it is used."""
        super().model_post_init(context)
        self._shared = SharedEncoder(TwoSidedEncoder(self.options()))

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises it."""
        return "InstructEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """What LlamaIndex's events say of this instance."""
        names = ("model_name", "embed_batch_size", "query_instruction", "document_instruction")
        return {"class_name": self.class_name()} | {name: getattr(self, name) for name in names}

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Vector]:
        """As LlamaIndex's; a bare string is an error and not a list of letters."""
        return super().get_text_embedding_batch(check_texts(texts), show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Vector]:
        """As `get_text_embedding_batch`, without blocking the event loop."""
        found = super().aget_text_embedding_batch(check_texts(texts), show_progress, **kwargs)
        return await found

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other arguments, checked as at construction, and a `close()` of its own.

        It shares the encoder where its options stay the same, unless it is `deep`.
        """
        arguments = copy.deepcopy(dict(self)) if deep else dict(self)
        other = type(self)(**(arguments | dict(update or {})))
        if not deep:
            other._shared = self._shared.for_copy(other._shared)
        return other

    def _under(self, query: str | None, documents: str | None) -> Self:
        return self.model_copy(
            update={"query_instruction": query, "document_instruction": documents}
        )

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy(deep=True)

    def _get_query_embedding(self, query: str) -> Vector:
        return self._embed([query], query=True)[0]

    async def _aget_query_embedding(self, query: str) -> Vector:
        return (await self._aembed([query], query=True))[0]

    def _get_text_embedding(self, text: str) -> Vector:
        return self._embed([text])[0]

    async def _aget_text_embedding(self, text: str) -> Vector:
        return (await self._aembed([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return self._embed(texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return await self._aembed(texts)

    def _embed(self, texts: Sequence[str], *, query: bool = False) -> list[Vector]:
        encode = self._encode_queries if query else self._encode_documents
        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return self._lists(encode(texts))
        known = self.query_fingerprint if query else self.fingerprint
        return cache.embed(check_texts(texts), known, lambda some: self._lists(encode(some)))

    async def _aembed(self, texts: Sequence[str], *, query: bool = False) -> list[Vector]:
        async def encode(some: Sequence[str]) -> list[Vector]:
            rows = await (self._aencode_queries(some) if query else self._aencode_documents(some))
            if len(rows) == 1:  # as of every query: quicker here than handed to a thread
                return self._lists(rows)
            return await asyncio.to_thread(self._lists, rows)

        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return await encode(texts)
        # The files of a model are read for its fingerprint.
        role = "query_fingerprint" if query else "fingerprint"
        namespace = await asyncio.to_thread(getattr, self, role)
        return await cache.aembed(check_texts(texts), namespace, encode)
