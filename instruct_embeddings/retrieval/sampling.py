"""Rows of a collection: a sample that can be learned from, or all, ranked exactly."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.errors import (
    EmptyCollectionError,
    GuideError,
    InvalidVectorsError,
    StaleCollectionError,
)
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval.ranking import FoldedQuery, Ranking
from instruct_embeddings.transform.vectors import has_direction

# Larger collections are read again by each search: a million vectors of 384 numbers are 1.5 GB.
MAX_COPY_BYTES = 256 * 1024**2
_PROBES = 64
_BLOCK = 8192
# Stores that keep cosine vectors normalised give them back with an error of about 5e-7.
_TOLERANCE = 1e-5
_log = logging.getLogger(__name__)


def sample_rows(
    collection: VectorCollection, size: int, *, seed: int, ids: Sequence[str] | None = None
) -> Rows:
    """Rows to learn from, with vectors, texts and metadata.

    The collection chooses them, the same rows for the same seed: see its `sample`. A collection of
    at most `size` rows is taken whole. `ids` restrict the choice; rows without usable vectors are
    left out.

    Raises:
        EmptyCollectionError: The collection is empty.
        GuideError: None of the ids is in the collection.
        InvalidVectorsError: No sampled vector has a direction.
    """
    if ids is None:
        rows = collection.sample(size, seed=seed)
    else:
        order = np.random.default_rng(seed).permutation(len(ids))
        chosen = [ids[i] for i in np.sort(order[:size])]
        rows = collection.fetch(chosen, vectors=True, records=True)
    if not len(rows):
        raise _nothing_found(collection, ids)
    return _usable(rows, collection)


@contextmanager
def unchanged(collection: VectorCollection) -> Iterator[CollectionInfo]:
    """The identity of a collection, for as long as something is learned from its rows.

    Rows may come and go meanwhile; one that is made anew is a StaleCollectionError.
    """
    before = collection.info()
    yield before
    if collection.capabilities.listing:
        collection.count()  # an identity may be remembered after the store has forgotten it
    after = collection.info()
    if after != before:
        raise StaleCollectionError(
            f"The collection {before.name!r} was made anew while something was learned from its "
            f"rows: it was {before}, and is {after}. What was learned fits the former vectors and "
            "is discarded. Call again."
        )


def _nothing_found(
    collection: VectorCollection, ids: Sequence[str] | None
) -> EmptyCollectionError | GuideError:
    name = collection.info().name
    if ids is None:
        return EmptyCollectionError(f"The collection {name!r} is empty. Index documents first.")
    listed = collection.scan() if collection.capabilities.listing else iter(())
    stored = list(next(listed, Rows(())).ids[:3])
    return GuideError(
        f"None of the {len(ids):,} ids that the guide knows is in the collection {name!r}. Its ids "
        f"look like {stored}, the guide's like {list(ids[:3])}. Use the ids of the collection."
    )


def _usable(rows: Rows, collection: VectorCollection) -> Rows:
    good = has_direction(rows.vectors)
    if good.all():
        return rows
    if not good.any():
        raise InvalidVectorsError(
            f"All {len(rows)} sampled vectors of {collection.info().name!r} are zero or hold NaN "
            "or infinite numbers. Look at how the collection was embedded."
        )
    _log.warning(
        "%d of %d sampled vectors have no direction (zero, NaN or infinite) and are left out",
        int((~good).sum()),
        len(rows),
    )
    return rows.take(np.flatnonzero(good))


@dataclass(frozen=True)
class VectorCopy:
    """All vectors of a collection at one moment.

    The copy is checked by the `state` of the collection and by re-reading some of its vectors:
    additions and deletions are seen, updates of vectors likely. Call the retriever's `refresh()`
    after updating vectors in place.
    """

    ids: tuple[str, ...]
    vectors: FloatArray
    state: str

    @classmethod
    def read(cls, collection: VectorCollection) -> "VectorCopy":
        """Copy a collection page by page; EmptyCollectionError where nothing is stored."""
        state = collection.state()  # first: what is written meanwhile is seen the next time
        rows = Rows.joined(list(collection.scan(vectors=True)))
        if not len(rows):
            raise EmptyCollectionError(
                f"The collection {collection.info().name!r} is empty. Index documents first."
            )
        return cls(rows.ids, rows.vectors, state)

    def is_current(self, collection: VectorCollection) -> bool:
        """Whether the collection still looks as it did when it was copied."""
        rows = len(self.ids)
        if collection.state() != self.state:
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
            pages = collection.scan(where=where, where_document=where_document)
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
            return self._collection.scan(where=where, where_document=where_document, vectors=True)
        with self._lock:
            if self._copy is None or not self._copy.is_current(self._collection):
                self._copy = VectorCopy.read(self._collection)
            copy = self._copy
        return copy.pages(self._collection, where, where_document)


def rank_exactly(pages: Iterable[Rows], query: FoldedQuery, k: int) -> Ranking:
    """Score every row of some pages with vectors; ties keep the order of the rows."""
    best: list[tuple[str, float]] = []
    for rows in pages:
        if rows.ids:
            scores = query.score(rows)
            order = np.argsort(-scores, kind="stable")[:k]
            best += [(rows.ids[i], float(scores[i])) for i in order]
            best = sorted(best, key=lambda row: -row[1])[:k]
    scores = np.array([max(score, -1.0) for _, score in best], dtype=np.float32)
    return Ranking(tuple(row for row, _ in best), scores)
