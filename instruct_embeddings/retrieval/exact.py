"""Exact ranking: every stored vector is scored, of an in-memory copy where it is not too large."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.protocols import Rows, VectorCollection
from instruct_embeddings.retrieval.ranking import Ranker, Ranking, SearchRequest, score_rows
from instruct_embeddings.retrieval.sampling import read_pages

# Larger collections are read again by each search: a million vectors of 384 numbers are 1.5 GB.
MAX_COPY_BYTES = 256 * 1024**2
_PROBES = 64
_BLOCK = 8192
# Chroma keeps cosine vectors normalised, so they come back with an error of about 5e-7.
_TOLERANCE = 1e-5


def rank_exactly(
    pages: Iterable[Rows], ranker: Ranker, query: FloatArray, request: SearchRequest
) -> Ranking:
    """Score every row of some pages with vectors; ties keep the order of the rows.

    `query` is a unit generic vector, shape (1, d).
    """
    folded = ranker.fold(query, request.blend)
    best: list[tuple[str, float]] = []
    for rows in pages:
        if rows.ids:
            scores = score_rows(rows, ranker, query, request.blend, folded)
            order = np.argsort(-scores, kind="stable")[: request.k]
            best += [(rows.ids[i], float(scores[i])) for i in order]
            best = sorted(best, key=lambda row: -row[1])[: request.k]
    scores = np.array([max(score, -1.0) for _, score in best], dtype=np.float32)
    return Ranking(tuple(row for row, _ in best), scores)


@dataclass(frozen=True)
class VectorCopy:
    """All vectors of a collection at one moment.

    A store has no version to compare, so the copy is checked by the row count, by the last row,
    where new ones come, and by re-reading some of its vectors: additions and deletions are always
    seen, updates of vectors likely. Call the retriever's `refresh()` after updating vectors in
    place.

    Attributes:
        ids: Identifiers in the store's order.
        vectors: float32, shape (n, d).
    """

    ids: tuple[str, ...]
    vectors: FloatArray

    @classmethod
    def read(cls, collection: VectorCollection) -> "VectorCopy":
        """Copy a collection page by page.

        Raises:
            EmptyCollectionError: Nothing is stored.
        """
        rows = Rows.joined(list(read_pages(collection, vectors=True)))
        if not len(rows):
            raise EmptyCollectionError(
                f"The collection {collection.info().name!r} is empty. Index documents first."
            )
        return cls(rows.ids, rows.vectors)

    def is_current(self, collection: VectorCollection) -> bool:
        """Whether the collection still looks as it did when it was copied."""
        rows = len(self.ids)
        if collection.count() != rows:
            return False
        if collection.page(limit=1, offset=rows - 1).ids != self.ids[-1:]:
            return False
        probes = np.unique(np.linspace(0, rows - 1, _PROBES).astype(int))
        wanted = tuple(self.ids[i] for i in probes)
        found = collection.fetch(wanted, vectors=True)
        return found.ids == wanted and bool(
            np.allclose(found.vectors, self.vectors[probes], atol=_TOLERANCE, equal_nan=True)
        )

    def pages(
        self, collection: VectorCollection, where: Where | None, where_document: Where | None
    ) -> Iterator[Rows]:
        """Rows that pass the filters of the collection, in order, some at a time."""
        passing = np.ones(len(self.ids), dtype=np.bool_)
        if where or where_document:
            pages = read_pages(collection, where=where, where_document=where_document)
            matching = {row for page in pages for row in page.ids}
            passing = np.array([row in matching for row in self.ids], dtype=np.bool_)
        for start in range(0, len(self.ids), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows, kept = Rows(self.ids[block], self.vectors[block]), passing[block]
            yield rows if kept.all() else rows.take(np.flatnonzero(kept))


class AllVectors:
    """All vectors of a collection, page by page; of a copy that is kept where it is small."""

    def __init__(self, collection: VectorCollection) -> None:
        """Nothing is read yet."""
        self._collection = collection
        self._copy: VectorCopy | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Read the collection again the next time."""
        with self._lock:
            self._copy = None

    def pages(
        self, dimension: int, where: Where | None, where_document: Where | None
    ) -> Iterator[Rows]:
        """Rows that pass the filters, in order, some at a time."""
        size = self._collection.count() * dimension * np.dtype(np.float32).itemsize
        if size > MAX_COPY_BYTES:
            return read_pages(
                self._collection, where=where, where_document=where_document, vectors=True
            )
        with self._lock:
            if self._copy is None or not self._copy.is_current(self._collection):
                self._copy = VectorCopy.read(self._collection)
            copy = self._copy
        return copy.pages(self._collection, where, where_document)
