"""From a folded query to ranked candidates: prefetch from the index, then rescore."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.transform.transform import Norms
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Chosen from the measured curve of `make bench-query`: see docs/performance.md.
DEFAULT_PREFETCH = 600
DEFAULT_RESCORE = 30
# With lengths that differ more than this, an index that is sensitive to length no longer
# prefetches what the adapted cosine would rank first.
MAX_NORM_SPREAD = 0.25


class Ranker(Protocol):
    """What ranks rows under an instruction: a transform, or several as one."""

    @property
    def collection(self) -> CollectionInfo:
        """The collection whose vectors it fits."""
        ...

    @property
    def norms(self) -> Norms:
        """Lengths of the stored vectors."""
        ...

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine."""
        ...

    @property
    def mix(self) -> float:
        """Share of the rescoring space; 0 where nothing is rescored."""
        ...

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries, shape (n, d) to (n, d)."""
        ...

    def score(self, query: FloatArray, documents: FloatArray, blend: float = 1.0) -> FloatArray:
        """Final scores of candidates, shapes (1, d) and (n, d) to (n,)."""
        ...


@dataclass(frozen=True)
class SearchRequest:
    """One validated search.

    Attributes:
        k: Results wanted.
        where: Metadata filter.
        where_document: Document filter.
        blend: 0 is the generic ranking, 1 the adapted one.
        prefetch: Candidates asked of the index; None for the default.
    """

    k: int
    where: Where | None = None
    where_document: Where | None = None
    blend: float = 1.0
    prefetch: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("k", self.k), ("prefetch", self.candidates)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name}={value!r} is not a whole number of at least 1.")
        if self.prefetch is not None and self.prefetch < self.k:
            raise ConfigError(
                f"prefetch={self.prefetch!r} is smaller than k={self.k}: the best k are chosen "
                "among the prefetched candidates. Raise prefetch or leave it out."
            )
        if not 0.0 <= self.blend <= 1.0:
            raise ConfigError(
                f"blend={self.blend!r} is outside [0, 1]: 0 is the generic ranking, 1 the adapted."
            )

    def widened(self, count: int) -> "SearchRequest":
        """The same search for so many results, which are reordered afterwards."""
        k = max(self.k, count)
        return replace(self, k=k, prefetch=max(k, self.prefetch or DEFAULT_PREFETCH))

    @property
    def candidates(self) -> int:
        """Candidates to prefetch."""
        return self.prefetch if self.prefetch is not None else max(DEFAULT_PREFETCH, 10 * self.k)


def rank_by_index(
    collection: VectorCollection,
    transform: Ranker,
    query: FloatArray,
    request: SearchRequest,
) -> list[tuple[str, float]]:
    """Prefetch by the folded query, rescore the best candidates, return ids and scores.

    Args:
        collection: The collection.
        transform: A transform of this collection.
        query: Unit generic vector, shape (1, d).
        request: The search.

    Raises:
        ConfigError: The index ranks by length as well, and lengths differ too much to prefetch.
    """
    _refuse_unreachable(collection, transform)
    length = np.float32(transform.norms.mean)
    found = collection.search(
        length * transform.fold(query, request.blend)[0],
        k=request.candidates,
        where=request.where,
        where_document=request.where_document,
    )
    exact_order = transform.order_is_exact
    if exact_order and transform.mix == 0.0:
        scores = index_cosines(found.scores, transform.collection.space, transform.norms.mean)
        scores = np.clip(scores, -1.0, 1.0)  # rounding
        return list(zip(found.ids, scores.tolist(), strict=True))[: request.k]
    rescored = max(DEFAULT_RESCORE, 2 * request.k) if exact_order else request.candidates
    rows = collection.fetch(found.ids[:rescored], vectors=True)
    return _best(rows, transform, query, request)


def index_cosines(scores: FloatArray, space: Space, length: float) -> FloatArray:
    """Cosines from the scores of an index, shape (n,) to (n,).

    Args:
        scores: Similarities in the index's own space.
        space: That space.
        length: Length of the stored vectors and of the query alike; not needed for `cosine`.
    """
    if space == "cosine":
        return scores
    square = np.float32(length * length)
    return scores / square if space == "ip" else 1 + scores / (2 * square)


def _refuse_unreachable(collection: VectorCollection, transform: Ranker) -> None:
    if transform.order_is_exact or transform.norms.spread <= MAX_NORM_SPREAD:
        return
    raise ConfigError(
        f"The vectors of {collection.info().name!r} differ in length (standard deviation "
        f"{transform.norms.spread:.0%} of the mean) and its index uses the space "
        f"{transform.collection.space!r}, which ranks by length too, so an adapted prefetch would "
        f"miss results. At most {MAX_NORM_SPREAD:.0%} is allowed. Search with exact=True, or store "
        "vectors of unit length or in a cosine collection."
    )


def rank_exactly(
    pages: Iterable[Rows], transform: Ranker, query: FloatArray, request: SearchRequest
) -> list[tuple[str, float]]:
    """Score every row, and keep the best; ties keep the order of the rows.

    Args:
        pages: All rows that pass the filters, with their vectors.
        transform: A transform of their collection.
        query: Unit generic vector, shape (1, d).
        request: The search.
    """
    best: list[tuple[str, float]] = []
    for rows in pages:
        best += _best(rows, transform, query, request)
        best = sorted(best, key=lambda row: -row[1])[: request.k]
    return best


def _best(
    rows: Rows, transform: Ranker, query: FloatArray, request: SearchRequest
) -> list[tuple[str, float]]:
    if not len(rows):
        return []
    scores = transform.score(query, unit_rows(rows.vectors), request.blend)
    scores = np.where(has_direction(rows.vectors), scores, -1.0)
    order = np.argsort(-scores, kind="stable")[: request.k]
    return [(rows.ids[i], float(scores[i])) for i in order]
