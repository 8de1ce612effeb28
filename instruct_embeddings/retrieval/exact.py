"""All stored vectors, for exact ranking: an in-memory copy, unless it would be too large."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray, Where
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.protocols import Rows, VectorCollection
from instruct_embeddings.retrieval.sampling import read_pages

# Larger collections are read again by each search: a million vectors of 384 numbers are 1.5 GB.
MAX_COPY_BYTES = 256 * 1024**2
_PROBES = 64
_BLOCK = 8192
# Chroma keeps cosine vectors normalised, so they come back with an error of about 5e-7.
_TOLERANCE = 1e-5


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
        probes = np.unique(np.linspace(0, len(self.ids) - 1, _PROBES).astype(int))
        asked = [self.ids[i] for i in probes]
        found = collection.fetch(asked, vectors=True)
        return found.ids == tuple(asked) and bool(
            np.allclose(found.vectors, self.vectors[probes], atol=_TOLERANCE, equal_nan=True)
        )

    def pages(
        self, collection: VectorCollection, where: Where | None, where_document: Where | None
    ) -> Iterator[Rows]:
        """Rows that pass the filters of the collection, in order, some at a time."""
        passing = self.matching(collection, where, where_document)
        for start in range(0, len(self.ids), _BLOCK):
            stop = start + _BLOCK
            rows, kept = Rows(self.ids[start:stop], self.vectors[start:stop]), passing[start:stop]
            yield rows if kept.all() else rows.take(np.flatnonzero(kept))

    def matching(
        self, collection: VectorCollection, where: Where | None, where_document: Where | None
    ) -> BoolArray:
        """Rows that pass the filters, shape (n,)."""
        if not where and not where_document:
            return np.ones(len(self.ids), dtype=np.bool_)
        pages = read_pages(collection, where=where, where_document=where_document)
        passing = {x for page in pages for x in page.ids}
        return np.array([x in passing for x in self.ids], dtype=np.bool_)


def fits_in_memory(collection: VectorCollection) -> bool:
    """Whether a copy of the vectors is kept, rather than read for each search."""
    dimension = collection.info().dimension
    return collection.count() * dimension * np.dtype(np.float32).itemsize <= MAX_COPY_BYTES
