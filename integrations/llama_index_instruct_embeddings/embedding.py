"""`InstructEmbedding`: embeddings under an instruction, as LlamaIndex's embedding model."""

import asyncio
import copy
import logging
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from typing_extensions import Self

from instruct_embeddings.encoder.encoder import Embeddings, check_texts
from instruct_embeddings.instant.two_sided import SharedEncoder, TwoSided, TwoSidedEncoder
from llama_index_instruct_embeddings.arguments import EmbeddingArguments
from llama_index_instruct_embeddings.cache import SeparateCache, Vector

Role = Literal["document", "query"]

logger = logging.getLogger(__name__)


class InstructEmbedding(TwoSided, EmbeddingArguments):
    """Embeddings under an instruction, with any Hugging Face backbone.

    An instruction is a plain sentence that says in what respect texts should be similar. Without
    one, embeddings are those of the backbone itself. Arguments cannot be changed later, as vectors
    of before and after would not belong together; `with_instruction` makes a copy.

    Setup:
        `pip install "instruct-embeddings[llama-index,offline]"`

    Key init args:
        model_name:
            Hub id, folder of a Hugging Face model, or folder of a saved encoder. By default
            instruct-minilm-l6-v1, which comes with this package.
        query_instruction, document_instruction:
            Sentences for queries and for documents; `None` is the generic embedding. There is no
            hidden default, and neither stands in for the other. With one for queries alone, the
            default model moves the generic vector of the query among those of the documents.
        show_progress:
            A bar on stderr for documents, never for a query.
        embed_batch_size:
            Texts that LlamaIndex passes on at once. The default is its upper limit: the encoder
            sorts texts by length and cuts them to batches that fit into memory, which goes the
            better the more it gets. Memory is limited by `batch_tokens` and `batch_size`.
        embeddings_cache:
            Key-value store of LlamaIndex. Models, instructions and roles can share one: each has a
            collection of its own in it.
        precision:
            "binary" gives the signs, 1.0 and -1.0, "int8" whole numbers: compare both by cosine.

        All others are fields of `instruct_embeddings.encoder.EncoderOptions` or of LlamaIndex's
        `BaseEmbedding`.

    Instantiate:
        ```python
        from llama_index.core import Settings
        from llama_index_instruct_embeddings import InstructEmbedding

        Settings.embed_model = InstructEmbedding(
            document_instruction="What is this ticket about?",
            query_instruction="What is this ticket about?",
        )
        ```

        Weights are loaded at the first use, once for all encoders of the process that use the same
        ones. Threads and event loops may share an instance. It can be pickled; the copy loads
        again. `close()` frees the memory.

    Usage:
        ```python
        index = VectorStoreIndex.from_documents(documents)
        vector = Settings.embed_model.get_query_embedding("it ate my photos")
        by_tone = Settings.embed_model.with_instruction("How does the customer sound?")
        ```

    Async:
        Nothing blocks the event loop.

        ```python
        vectors = await Settings.embed_model.aget_text_embedding_batch(texts)
        ```

    Use within a pipeline:
        ```python
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), InstructEmbedding()], vector_store=vector_store
        )
        ```
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

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder behind it, for all that LlamaIndex has no method for."""
        return self._shared.encoder

    def to_payload(self) -> dict[str, Any]:
        """What events tell about this instance."""
        return {
            "class_name": self.class_name(),
            "model_name": self.model_name,
            "embed_batch_size": self.embed_batch_size,
            "query_instruction": self.query_instruction,
            "document_instruction": self.document_instruction,
        }

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Vector]:
        """As LlamaIndex's; a bare string is an error and not a list of letters."""
        found: list[Vector] = super().get_text_embedding_batch(
            check_texts(texts), show_progress, **kwargs
        )
        return found

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Vector]:
        """As `get_text_embedding_batch`, without blocking the event loop."""
        found: list[Vector] = await super().aget_text_embedding_batch(
            check_texts(texts), show_progress, **kwargs
        )
        return found

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other arguments, checked as at construction.

        The encoder is shared where its options stay the same, and each copy has a `close()` of its
        own.

        Args:
            update: Arguments by name.
            deep: Copy the host's objects too, such as the callback manager, and share nothing.
        """
        arguments = copy.deepcopy(dict(self)) if deep else dict(self)
        other = type(self)(**(arguments | dict(update or {})))
        if not (deep or self._shared.closed) and other.options() == self.options():
            other._shared = self._shared.another()
        return other

    def close(self) -> None:
        """Give the memory back, unless others use the same model; then refuse to work."""
        self._shared.close()

    def _under(self, query: str | None, documents: str | None) -> Self:
        return self.model_copy(
            update={"query_instruction": query, "document_instruction": documents}
        )

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy(deep=True)

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

    def _get_query_embedding(self, query: str) -> Vector:
        return self._embed([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Vector:
        return (await self._aembed([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Vector:
        return self._embed([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Vector:
        return (await self._aembed([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return self._embed(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return await self._aembed(texts, "document")

    def _embed(self, texts: Sequence[str], role: Role) -> list[Vector]:
        def encode(asked: Sequence[str]) -> list[Vector]:
            return self._lists(self._rows(asked, role))

        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return encode(texts)
        return cache.embed(check_texts(texts), self._namespace(role), encode)

    async def _aembed(self, texts: Sequence[str], role: Role) -> list[Vector]:
        async def encode(asked: Sequence[str]) -> list[Vector]:
            rows = await self._arows(asked, role)
            if len(rows) == 1:
                return self._lists(rows)
            return await asyncio.to_thread(self._lists, rows)

        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return await encode(texts)
        # The files of a model are read for its fingerprint.
        namespace = await asyncio.to_thread(self._namespace, role)
        return await cache.aembed(check_texts(texts), namespace, encode)

    def _rows(self, texts: Sequence[str], role: Role) -> Embeddings:
        if role == "query":
            return self._encode_queries(texts)
        return self.encoder.encode(texts, **self._of_documents())

    async def _arows(self, texts: Sequence[str], role: Role) -> Embeddings:
        if role == "query":
            return await self._aencode_queries(texts)
        return await self.encoder.aencode(texts, **self._of_documents())

    def _of_documents(self) -> dict[str, Any]:
        return {"instruction": self.document_instruction, "show_progress": self.show_progress}

    def _namespace(self, role: Role) -> str:
        return self.query_fingerprint if role == "query" else self.fingerprint
