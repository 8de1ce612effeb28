"""A Chroma collection as the `VectorCollection` that retrieval works on."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import numpy as np
from chromadb import Collection

from chroma_instruct_embeddings import answers
from chroma_instruct_embeddings.source import attribute_of, collection_of, dimension_of, space_of
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError, InvalidVectorsError
from instruct_embeddings.paging import PagedCollection
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows

# One id is one SQL variable, and SQLite takes 32,766 of them.
MAX_PAGE_SIZE = 10_000


class ChromaVectors(PagedCollection):
    """The vectors of a Chroma collection, embedded or on a server; read only.

    Chroma's embedding functions are neither used nor needed. Filters are its own; empty means none.

    Instantiate:
        ```python
        from chroma_instruct_embeddings import ChromaVectors
        from instruct_embeddings import EncoderGuide, InstructRetriever

        retriever = InstructRetriever(ChromaVectors(collection), EncoderGuide())
        hits = retriever.search(vector, instruction="What is it for?", k=5)
        ```

    Args:
        source: A `chromadb.Collection`, a `langchain_chroma.Chroma` or a LlamaIndex
            `ChromaVectorStore`, made with a synchronous client. Nothing is read from it yet.
        page_size: Rows asked for in one request, at most 10,000 (Chroma Cloud: 300).

    Raises:
        UnsupportedCollectionError: The source is something else.
        ConfigError: The page size is out of its range.
    """

    def __init__(self, source: object, *, page_size: int = 2000) -> None:
        self.page_size = at_least("page_size", page_size, 1, optional=False)
        if self.page_size > MAX_PAGE_SIZE:
            raise ConfigError(f"page_size={page_size} is too much: at most {MAX_PAGE_SIZE}.")
        collection_of(source)
        self.source, self._attribute = source, attribute_of(source)
        # Of the collection of this id, as long as it is the one behind the source.
        self._dimension_of: tuple[UUID, int] | None = None
        self._space_of: tuple[UUID, Space] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.collection.name!r}, id={str(self.collection.id)!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both show one collection, through whichever objects."""
        if not isinstance(other, ChromaVectors):
            return NotImplemented
        return self.source is other.source or self.collection.id == other.collection.id

    def __hash__(self) -> int:
        return hash(self.collection.id)

    @property
    def collection(self) -> Collection:
        """The `chromadb.Collection` behind the source, as it is now."""
        with suppress(ValueError):  # of LangChain, where the collection was deleted
            found = getattr(self.source, self._attribute) if self._attribute else self.source
            if isinstance(found, Collection):
                return found
        return collection_of(self.source)  # says what is wrong

    def info(self) -> CollectionInfo:
        """Identity, dimension and space; EmptyCollectionError where it holds no vectors."""
        found = self.collection
        dimension = self._dimension(found)
        return CollectionInfo(found.name, str(found.id), dimension, self._space(found))

    def count(self) -> int:
        """Number of rows now."""
        collection = self.collection
        return answers.request(collection, lambda: answers.to_count(collection.count()))

    def page(
        self,
        *,
        limit: int,
        offset: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Rows:
        """One page of rows in the order of insertion; read in several requests where it is long.

        Raises:
            ConfigError: `limit` or `offset` is negative, or a filter is no mapping.
        """
        end = at_least("limit", limit, 0, optional=False)
        end += at_least("offset", offset, 0, optional=False)
        collection, kept = self.collection, answers.filters(where, where_document)
        parts: list[Rows] = []
        for start in range(offset, end, self.page_size):
            asked = min(self.page_size, end - start)
            paged = {"limit": asked, "offset": start, **kept}
            parts.append(answers.get_rows(collection, vectors, records, paged))
            if len(parts[-1]) < asked:
                break
        return answers.joined(parts, vectors, lambda: self._dimension(collection))

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        collection = self.collection
        wanted = list(dict.fromkeys(ids))  # Chroma refuses repeated ids
        pages = [wanted[at : at + self.page_size] for at in range(0, len(wanted), self.page_size)]
        parts = [answers.get_rows(collection, vectors, records, {"ids": page}) for page in pages]
        rows = answers.joined(parts, vectors, lambda: self._dimension(collection))
        return rows if len(wanted) == len(ids) else rows.take(answers.places(rows.ids, ids))

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
    ) -> Neighbours:
        """The `k` nearest rows of one vector, shape (d,), by Chroma's index.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
            StaleCollectionError: Another process changed or deleted the collection.
        """
        query: FloatArray = np.asarray(vector, dtype=np.float32)
        if query.ndim != 1 or not np.isfinite(query).all():
            raise InvalidVectorsError(
                f"The query must be one vector without NaN or infinite numbers, shape (d,), got "
                f"the shape {query.shape}. Look at the model that it came from."
            )
        k = at_least("k", k, 1, optional=False)
        # Chroma makes room for as many as are asked for.
        wanted = k if k <= MAX_PAGE_SIZE else max(1, min(k, self.count()))
        kept = {"n_results": wanted, **answers.filters(where, where_document)}
        collection = self.collection
        return answers.query_rows(collection, self._space(collection), query, vectors, kept)

    def _dimension(self, collection: Collection) -> int:
        if self._dimension_of is None or self._dimension_of[0] != collection.id:
            found = answers.request(collection, lambda: dimension_of(collection))
            self._dimension_of = collection.id, found
        return self._dimension_of[1]

    def _space(self, collection: Collection) -> Space:
        if self._space_of is None or self._space_of[0] != collection.id:
            self._space_of = collection.id, space_of(collection)
        return self._space_of[1]
