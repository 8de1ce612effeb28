"""A Chroma collection as the `VectorCollection` that retrieval works on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
from chromadb import Collection, Include

from chroma_instruct_embeddings.reading import (
    dimension_of,
    each,
    in_order,
    numbers,
    rows_of,
    scores_of,
    space_of,
)
from chroma_instruct_embeddings.sources import collection_of
from chroma_instruct_embeddings.translation import AnswerError, answered, translated
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import at_least, check_filter
from instruct_embeddings.errors import ConfigError, EmptyCollectionError, InvalidVectorsError
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows

# One id is one SQL variable, and SQLite takes 32,766 of them.
MAX_PAGE_SIZE = 10_000


class ChromaVectors:
    """The vectors of a Chroma collection, embedded or on a server; read only.

    Texts are never passed to Chroma, so its embedding functions are neither used nor needed.

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

    Attributes:
        source: The object given.
        page_size: Rows asked for in one request.
    """

    def __init__(self, source: object, *, page_size: int = 2000) -> None:
        page_size = at_least("page_size", page_size, 1, optional=False)
        if page_size > MAX_PAGE_SIZE:
            raise ConfigError(
                f"page_size={page_size!r} is out of range. Allowed is 1 to {MAX_PAGE_SIZE:,}. "
                "Use 2000, or 300 on Chroma Cloud."
            )
        collection_of(source)
        self.source = source
        self.page_size = page_size
        self._dimension_of: tuple[UUID, int] | None = None

    def __repr__(self) -> str:
        found = self.collection
        return f"{type(self).__name__}({found.name!r}, id={str(found.id)!r})"

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
        return collection_of(self.source)

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        Raises:
            EmptyCollectionError: The collection holds no vectors.
        """
        collection = self.collection
        return CollectionInfo(
            name=collection.name,
            id=str(collection.id),
            dimension=self._dimension(collection),
            space=space_of(collection),
        )

    def count(self) -> int:
        """Number of rows now."""
        collection = self.collection
        with translated(collection):
            found = collection.count()
            if not isinstance(found, int):
                raise AnswerError(f"the number of rows is {shown(found)}")
            return found

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

        Args:
            limit: Rows wanted.
            offset: Rows to leave out before the first.
            where: Chroma filter on metadata; empty means none.
            where_document: Chroma filter on texts; empty means none.
            vectors: Whether vectors are wanted, shape (n, d).
            records: Whether texts and metadata are wanted.

        Raises:
            ConfigError: `limit` or `offset` is negative.
        """
        limit = at_least("limit", limit, 0, optional=False)
        offset = at_least("offset", offset, 0, optional=False)
        collection = self.collection
        parts = []
        for start in range(offset, offset + limit, self.page_size):
            asked = min(self.page_size, offset + limit - start)
            part = self._get(
                collection,
                vectors=vectors,
                records=records,
                limit=asked,
                offset=start,
                where=_filter(where),
                where_document=_filter(where_document),
            )
            parts.append(part)
            if len(part) < asked:
                break
        return self._shaped(Rows.joined(parts), collection, vectors=vectors)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, in the order asked; ids that no longer exist are left out.

        Args:
            ids: Any number of ids.
            vectors: Whether vectors are wanted, shape (n, d).
            records: Whether texts and metadata are wanted.
        """
        collection = self.collection
        # Chroma refuses repeated ids, and answers in the order of insertion.
        wanted = list(dict.fromkeys(ids))
        parts = [
            self._get(
                collection,
                vectors=vectors,
                records=records,
                ids=wanted[start : start + self.page_size],
            )
            for start in range(0, len(wanted), self.page_size)
        ]
        return self._shaped(in_order(Rows.joined(parts), ids), collection, vectors=vectors)

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        where: Where | None = None,
        where_document: Where | None = None,
    ) -> Neighbours:
        """The `k` nearest rows of one vector by Chroma's index; fewer where there are fewer.

        Args:
            vector: Query vector, shape (d,).
            k: Rows wanted.
            where: Chroma filter on metadata; empty means none.
            where_document: Chroma filter on texts; empty means none.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number, or the vector is not one-dimensional.
            InvalidVectorsError: The vector holds NaN or infinite numbers.
            StaleCollectionError: Another process changed or deleted the collection.
        """
        query = _query(vector)
        k = at_least("k", k, 1, optional=False)
        collection = self.collection
        # Chroma makes room for as many as are asked for.
        wanted = k if k <= MAX_PAGE_SIZE else max(1, min(k, self.count()))

        def ask() -> Neighbours:
            answer = collection.query(
                query_embeddings=query,
                n_results=wanted,
                where=_filter(where),
                where_document=_filter(where_document),
                include=["distances"],
            )
            ids = tuple(each(answer["ids"][0], str, "ids"))
            distances = (answer["distances"] or [[]])[0]
            found = numbers(distances, "distances", rows=len(ids), axes=1)
            return Neighbours(ids, scores_of(found, space_of(collection)))

        return answered(collection, ask)

    def _dimension(self, collection: Collection) -> int:
        known = self._dimension_of
        if known is None or known[0] != collection.id:
            with translated(collection):
                known = (collection.id, dimension_of(collection))
            self._dimension_of = known
        return known[1]

    def _get(
        self, collection: Collection, *, vectors: bool, records: bool, **criteria: Any
    ) -> Rows:
        include: Include = ["embeddings"] if vectors else []
        if records:
            include += ["documents", "metadatas"]

        def ask() -> Rows:
            answer = collection.get(include=include, **criteria)
            return rows_of(answer, vectors=vectors, records=records)

        return answered(collection, ask)

    def _shaped(self, rows: Rows, collection: Collection, *, vectors: bool) -> Rows:
        if not vectors or rows.ids:
            return rows
        try:
            dimension = self._dimension(collection)
        except EmptyCollectionError:
            return rows
        return replace(rows, vectors=np.empty((0, dimension), dtype=np.float32))


def _query(vector: FloatArray) -> FloatArray:
    query = np.asarray(vector, dtype=np.float32)
    if query.ndim != 1:
        raise ConfigError(
            f"The query vector has shape {query.shape}. One vector of shape (d,) is searched at a "
            "time. Pass a single row."
        )
    if not np.isfinite(query).all():
        raise InvalidVectorsError(
            "The query vector holds NaN or infinite numbers. Only finite numbers can be compared. "
            "Check the text and the embedding model that it came from."
        )
    return query


def _filter(where: Where | None) -> Any:
    check_filter("where", where)
    return dict(where) if where else None
