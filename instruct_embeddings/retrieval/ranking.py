"""From a folded query to ranked candidates: prefetch from the index, then rescore."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Protocol

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray, Space, Where
from instruct_embeddings.config import at_least, check_filter
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.transform.transform import Norms
from instruct_embeddings.transform.vectors import LONGEST, SHORTEST, has_direction, unit_rows

# Chosen from the measured curve of `make bench-query`: see docs/performance.md.
DEFAULT_PREFETCH = 600
DEFAULT_RESCORE = 30
# With lengths that differ more than this, an index that is sensitive to length no longer
# prefetches what the adapted cosine would rank first.
MAX_NORM_SPREAD = 0.25
# Rows whose cosine is so near to that of zeros are looked at.
_LOOKS_LIKE_ZEROS = 1e-4
# Times as many candidates are asked for where too few have a direction.
_FURTHER = 4


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
        prefetch: Candidates asked of the index, all of which are rescored; None for the default,
            of which the best are.
    """

    k: int
    where: Where | None = None
    where_document: Where | None = None
    blend: float = 1.0
    prefetch: int | None = None

    def __post_init__(self) -> None:
        check_filter("where", self.where)
        check_filter("where_document", self.where_document)
        object.__setattr__(self, "k", at_least("k", self.k, 1, optional=False))
        object.__setattr__(self, "prefetch", at_least("prefetch", self.prefetch, 1))
        if self.prefetch is not None and self.prefetch < self.k:
            raise ConfigError(
                f"prefetch={self.prefetch!r} is smaller than k={self.k}: the best k are chosen "
                "among the prefetched candidates. Raise prefetch or leave it out."
            )
        if not isinstance(self.blend, Real) or not 0.0 <= self.blend <= 1.0:
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
    exact_order = transform.order_is_exact
    unscored = exact_order and transform.mix == 0.0
    few = request.prefetch or max(DEFAULT_RESCORE, 2 * request.k)
    needed = min(few, request.candidates) if exact_order else request.candidates
    folded = transform.fold(query, request.blend)[0]
    found = _prefetch(collection, transform, folded, request, request.k if unscored else needed)
    if unscored:
        return found.ranked(request.k)
    rows = collection.fetch(found.ids[:needed], vectors=True)
    return _shown(_best(rows, transform, query, request))


@dataclass(frozen=True)
class _Candidates:
    """Answer of the index, rows without a direction last.

    Attributes:
        ids: Identifiers.
        cosines: With the folded query, shape (n,); -1 for rows without a direction.
    """

    ids: tuple[str, ...]
    cosines: FloatArray

    def ranked(self, k: int) -> list[tuple[str, float]]:
        return list(zip(self.ids, self.cosines.tolist(), strict=True))[:k]


def _prefetch(
    collection: VectorCollection,
    transform: Ranker,
    folded: FloatArray,
    request: SearchRequest,
    needed: int,
) -> _Candidates:
    """Candidates of the index, among them as many with a direction as are needed.

    To an index a vector of zeros is as near as one of half the largest cosine (l2) or of none
    (ip, cosine), so it stands before real rows. Such rows are found by that score, which few others
    share, and do not count: more is asked for where they take the places of others.
    """
    space = transform.collection.space
    # Scaled so that the index says cosines, or the distances of vectors of one length.
    length = {"l2": transform.norms.mean, "ip": 1 / transform.norms.mean, "cosine": 1.0}[space]
    vector = np.float32(length) * folded
    asked = request.candidates
    while True:
        found = collection.search(
            vector, k=asked, where=request.where, where_document=request.where_document
        )
        cosines = index_cosines(found.scores, "cosine" if space == "ip" else space, length)
        blank = _without_direction(collection, found.ids, cosines, 0.5 if space == "l2" else 0.0)
        if len(found) < asked or int((~blank).sum()) >= needed:
            break
        asked *= _FURTHER
    order = np.argsort(blank, kind="stable")
    shown = np.where(blank, -1.0, np.clip(cosines, -1.0, 1.0))  # rounding
    return _Candidates(tuple(found.ids[i] for i in order), shown[order].astype(np.float32))


def _without_direction(
    collection: VectorCollection, ids: Sequence[str], cosines: FloatArray, of_zeros: float
) -> BoolArray:
    """Which rows have no direction, shape (n,).

    Args:
        collection: The collection.
        ids: Rows.
        cosines: What the index says of them, shape (n,).
        of_zeros: What it says of a vector of zeros.
    """
    near = ~(np.abs(cosines - of_zeros) > _LOOKS_LIKE_ZEROS)  # NaN too
    blank = np.zeros(len(ids), dtype=np.bool_)
    suspects = [ids[i] for i in np.flatnonzero(near).tolist()]
    if suspects:
        rows = collection.fetch(suspects, vectors=True)
        known = dict(zip(rows.ids, has_direction(rows.vectors).tolist(), strict=True))
        # What was deleted meanwhile is left out later.
        blank[near] = [not known.get(row, True) for row in suspects]
    return blank


def index_cosines(scores: FloatArray, space: Space, length: float) -> FloatArray:
    """Cosines from the scores of an index, shape (n,) to (n,).

    Args:
        scores: Similarities in the index's own space.
        space: That space.
        length: Length of the stored vectors and of the query alike; not needed for `cosine`.
    """
    if space == "cosine":
        return scores
    cosines = scores.astype(np.float64) / (length * length)
    return np.asarray(cosines if space == "ip" else 1 + cosines / 2, dtype=np.float32)


def _refuse_unreachable(collection: VectorCollection, transform: Ranker) -> None:
    mean = transform.norms.mean
    if transform.collection.space == "l2" and not SHORTEST < mean < LONGEST:
        raise ConfigError(
            f"The vectors of {collection.info().name!r} have a mean length of {mean:.3g}, whose "
            f"squares its l2 index cannot compare. Between {SHORTEST:g} and {LONGEST:g} is "
            "allowed. Search with exact=True, or store vectors of unit length."
        )
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
    return _shown(best)


def _best(
    rows: Rows, transform: Ranker, query: FloatArray, request: SearchRequest
) -> list[tuple[str, float]]:
    """The best rows with their scores, best first; rows without a direction come behind any."""
    if not len(rows):
        return []
    scores = transform.score(query, unit_rows(rows.vectors), request.blend)
    scores = np.where(has_direction(rows.vectors), scores, -np.inf)
    order = np.argsort(-scores, kind="stable")[: request.k]
    return [(rows.ids[i], float(scores[i])) for i in order]


def _shown(ranked: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Scores as they are told: rows without a direction have the least similarity there is."""
    return [(row, max(score, -1.0)) for row, score in ranked]
