"""From a query to hits: candidates of the index, rescored by what ranks under an instruction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import BoolArray, FloatArray, IntArray, Metadata, Space, Where
from instruct_embeddings.config import at_least, check_filter
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import Capabilities, CollectionInfo, Rows, VectorCollection
from instruct_embeddings.transform.transform import DEFAULT_PREFETCH, Norms
from instruct_embeddings.transform.vectors import (
    LONGEST,
    SHORTEST,
    has_direction,
    index_query,
    unit_rows,
)

# Chosen from the measured curve of `make bench-query`: see docs/performance.md.
DEFAULT_RESCORE = 30
# Candidates for each result, at least: where they are rescored, and where nothing was measured.
_PER_RESCORED, _PER_UNMEASURED = 3, 10
# Texts and metadata of so many rows come with their vectors: reading them is cheaper than asking
# once more.
_RECORDS_ALONG = 60
# With lengths that differ more than this, an index that is sensitive to length no longer
# prefetches what the adapted cosine would rank first.
MAX_NORM_SPREAD = 0.25
# Scores that differ by less may be those of equal rows.
SAME_SCORE = 1e-5
# Rows whose cosine is so near to that of zeros are looked at.
_LOOKS_LIKE_ZEROS = 1e-4
# Times as many candidates are fetched where too few have a direction.
_FURTHER = 4


RankedBy: TypeAlias = Literal["generic", "instant", "fitted", "learned", "mixed"]
"""What ranked a search: the stored vectors alone, the instant query, a fitted transform, or any of
these with what was "learned" from a judge or from examples; "mixed" where several instructions were
answered by different ones."""


@dataclass(frozen=True)
class Hit:
    """A row of the collection with its score.

    Attributes:
        id: Identifier in the collection.
        score: Similarity, higher is closer, in [-1, 1] for vectors of unit length: the adapted
            cosine similarity where `adapted`, else the generic one.
        text: Stored text, if any.
        metadata: Stored metadata.
        ranked_by: What ranked the search; "generic" for a plain search, and where the generic
            ranking was kept because the transform did not beat it on held-out rows.
        reused: Instructions whose transforms served for those of the search, as they mean the same.
        judge_score: What a judge said of the row, in [0, 1]; None where it did not read it.
        judge_problem: Why a judge that was asked changed nothing; None where all is well.
    """

    id: str
    score: float
    text: str | None
    metadata: Metadata
    ranked_by: RankedBy
    reused: tuple[str, ...] = ()
    judge_score: float | None = None
    judge_problem: str | None = None

    @property
    def adapted(self) -> bool:
        """Whether an instruction ranked."""
        return self.ranked_by != "generic"


class Ranker(Protocol):
    """What ranks rows under an instruction: a transform, or the instant query."""

    @property
    def collection(self) -> CollectionInfo:
        """The collection whose vectors it fits."""

    @property
    def norms(self) -> Norms:
        """Lengths of the stored vectors."""

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine."""

    @property
    def mix(self) -> float:
        """Weight of the rescoring space; 0 where nothing is rescored."""

    @property
    def prefetch(self) -> int:
        """Candidates of the index for ten results, where no filter is set."""

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries, shape (n, d) to (n, d)."""

    def score(
        self,
        query: FloatArray,
        documents: FloatArray,
        blend: float = 1.0,
        *,
        folded: FloatArray | None = None,
    ) -> FloatArray:
        """Final scores of candidates, shapes (1, d) and (n, d) to (n,); `folded` where known."""


@dataclass(frozen=True)
class WeightedRanker:
    """What ranks under one instruction, with its weight among several, which add up to 1.

    `blend` is a factor of the blend of the search: what judged questions have chosen, 0 where the
    generic vectors rank. `reused` names the instruction it was fitted for, where that is another.
    """

    ranker: Ranker
    ranked_by: RankedBy
    blend: float = 1.0
    weight: float = 1.0
    reused: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoldedQuery:
    """A query under one instruction, or under several that act as one; each folds it once.

    Folded queries are added up with their weights before the index is searched, so that there is
    still one request; scores of candidates are added up with the same weights.

    `query` is a unit generic vector, shape (1, d). `shift`, shape (d,), moves the folded query
    further, by what a judge or examples taught.
    """

    rankers: Sequence[WeightedRanker]
    query: FloatArray
    blend: float = 1.0
    shift: FloatArray | None = None

    def moved(self, shift: FloatArray) -> "FoldedQuery":
        """The same, moved by what was learned from a judge or from examples, shape (d,)."""
        rankers = [replace(one, ranked_by="learned") for one in self.rankers]
        return replace(
            self, rankers=rankers, shift=shift if self.shift is None else self.shift + shift
        )

    @property
    def first(self) -> Ranker:
        """One of them, for what they have in common: collection and lengths."""
        return self.rankers[0].ranker

    @property
    def ranked_by(self) -> RankedBy:
        """What they are."""
        kinds = {one.ranked_by for one in self.rankers}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def reused(self) -> tuple[str, ...]:
        """Instructions whose transforms serve for others."""
        return tuple(text for one in self.rankers for text in one.reused)

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks it by cosine."""
        return all(one.ranker.order_is_exact for one in self.rankers)

    @property
    def is_rescored(self) -> bool:
        """Whether scores differ from cosines with the vector."""
        return any(one.ranker.mix for one in self.rankers)

    @property
    def prefetch(self) -> int:
        """Candidates of the index for ten results, where no filter is set."""
        return max(one.ranker.prefetch for one in self.rankers)

    @cached_property
    def _folded(self) -> list[FloatArray]:
        return [one.ranker.fold(self.query, self.blend * one.blend) for one in self.rankers]

    @cached_property
    def vector(self) -> FloatArray:
        """The unit vector for the index, shape (d,)."""
        if self.shift is None:
            return self._unshifted
        return np.asarray(unit_rows((self._unshifted + self.shift)[None])[0])

    @cached_property
    def _unshifted(self) -> FloatArray:
        if len(self.rankers) == 1:
            [folded] = self._folded
        else:
            folded = unit_rows(self._weighted(self._folded))
        return np.asarray(folded[0])

    def score(self, rows: Rows) -> FloatArray:
        """Final scores of rows with vectors, shape (n,); -inf for those without a direction."""
        documents = unit_rows(rows.vectors)
        scores = [
            one.ranker.score(self.query, documents, self.blend * one.blend, folded=folded)
            for one, folded in zip(self.rankers, self._folded, strict=True)
        ]
        found = self._weighted(scores)
        if self.shift is not None:
            found = np.clip(found + documents @ (self.vector - self._unshifted), -1.0, 1.0)
        return np.where(has_direction(rows.vectors), found, np.float32(-np.inf))

    def _weighted(self, arrays: Sequence[FloatArray]) -> FloatArray:
        pairs = zip(self.rankers, arrays, strict=True)
        return np.asarray(np.sum([one.weight * array for one, array in pairs], 0), dtype=np.float32)


@dataclass(frozen=True)
class SearchRequest:
    """One validated search, or ConfigError; see `InstructRetriever.search`.

    All `prefetch` candidates of the index are rescored; of the default number the best are.
    """

    k: int = 4
    where: Where | None = None
    where_document: Where | None = None
    blend: float | None = None
    prefetch: int | None = None
    exact: bool = False
    wait: bool = False
    force: bool | None = None
    judge: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", at_least("k", self.k, 1, optional=False))
        object.__setattr__(self, "prefetch", at_least("prefetch", self.prefetch, 1))
        check_filter("where", self.where)
        check_filter("where_document", self.where_document)
        if self.prefetch is not None and self.prefetch < self.k:
            raise ConfigError(
                f"prefetch={self.prefetch!r} is smaller than k={self.k}: the best k are chosen "
                "among the prefetched candidates. Raise prefetch or leave it out."
            )
        if not isinstance(self.weight, Real) or not 0.0 <= self.weight <= 1.0:
            raise ConfigError(
                f"blend={self.blend!r} is outside [0, 1]: 0 is the generic ranking, 1 the adapted."
            )

    @property
    def weight(self) -> float:
        """The blend of the search; 1 where judged questions may have chosen another."""
        return 1.0 if self.blend is None else self.blend

    def wanting(self, k: int) -> "SearchRequest":
        """The same search for at least so many results."""
        if k <= self.k:
            return self
        return replace(self, k=k, prefetch=self.prefetch and max(k, self.prefetch))

    def widened(self, count: int, *, cheap: bool = True) -> "SearchRequest":
        """The same search for so many results, which are reordered afterwards.

        Fewer where vectors are not `cheap`, as those of all results are read.
        """
        if not cheap:
            return self.wanting(DEFAULT_RESCORE)
        k = max(self.k, count)
        return replace(self, k=k, prefetch=max(k, self.prefetch or DEFAULT_PREFETCH))

    def sizes(self, query: FoldedQuery) -> tuple[int, int]:
        """Candidates among which the index looks, and how many of the best of them to score.

        What was measured holds where the index is asked for cosines and nothing else.
        """
        if self.prefetch is not None:
            return self.prefetch, self.prefetch
        unmeasured = max(DEFAULT_PREFETCH, _PER_UNMEASURED * self.k)
        if not query.order_is_exact:
            return unmeasured, unmeasured
        if query.is_rescored:
            scored, least = max(DEFAULT_RESCORE, 2 * self.k), _PER_RESCORED * self.k
        else:
            scored = least = self.k
        filtered = self.where or self.where_document
        return max(unmeasured if filtered else query.prefetch, scored, least), scored

    def check(self, capabilities: Capabilities) -> None:
        """Refuse what a store cannot do, with ConfigError."""
        if self.exact and not capabilities.listing:
            raise ConfigError(
                "exact=True cannot be obeyed: rows of this store cannot be listed. Scoring every "
                "row needs them all. Leave it out, and raise prefetch instead."
            )


@dataclass(frozen=True)
class Ranking:
    """Rows of a collection in order.

    Attributes:
        ids: Identifiers, best first.
        scores: Similarities in [-1, 1], shape (n,); -1 for rows without a direction.
        rows: What was read of them on the way, in any order, perhaps with further rows.
    """

    ids: tuple[str, ...]
    scores: FloatArray
    rows: Rows = field(default_factory=lambda: Rows(()))

    def vectors_of(self, collection: VectorCollection) -> Rows:
        """The rows in order with their vectors; rows that no longer exist are left out."""
        if not self.rows.vectors.size:
            return collection.fetch(self.ids, vectors=True)
        return self._taken(self.ids)

    def read(self, collection: VectorCollection, ids: Sequence[str]) -> Rows:
        """Some of the rows with vectors and records; rows that no longer exist are left out."""
        if not (self.rows.vectors.size and self.rows.texts):
            return collection.fetch(ids, vectors=True, records=True)
        return self._taken(ids)

    def _taken(self, ids: Sequence[str]) -> Rows:
        """What was read on the way, in the order of the ids."""
        position = {row: i for i, row in enumerate(self.rows.ids)}
        return self.rows.take([position[row] for row in ids])

    def hits(
        self, collection: VectorCollection, ranked_by: RankedBy, reused: tuple[str, ...] = ()
    ) -> list[Hit]:
        """The rows with texts and metadata; rows that no longer exist are left out."""
        if not self.ids:
            return []
        rows = self.rows if self.rows.texts else collection.fetch(self.ids, records=True)
        records = dict(zip(rows.ids, zip(rows.texts, rows.metadatas, strict=True), strict=True))
        return [
            Hit(row, score, *records[row], ranked_by, reused)
            for row, score in zip(self.ids, self.scores.tolist(), strict=True)
            if row in records
        ]


def rank_generic(
    collection: VectorCollection,
    query: NDArray[np.float64],
    request: SearchRequest,
    info: CollectionInfo | None = None,
) -> Ranking:
    """The plain search for a generic vector as it was given, shape (d,)."""
    row = index_query(query, lambda: (info or collection.info()).space)
    found = collection.search(
        row, k=request.k, where=request.where, where_document=request.where_document, records=True
    )
    if not found.rows.ids:
        return Ranking((), found.scores)
    length = float(np.linalg.norm(row))
    space = (info or collection.info()).space
    return Ranking(found.rows.ids, _cosines(found.scores, space, length), found.rows)


def rank_by_index(
    collection: VectorCollection,
    query: FoldedQuery,
    request: SearchRequest,
    *,
    vectors: bool = False,
) -> Ranking:
    """Prefetch by the folded query and rescore the best candidates.

    Their vectors come with the search where they are scored or the caller wants them, records
    unless they are many.
    """
    _refuse_unreachable(collection, query)
    candidates, rescored = request.sizes(query)
    scored = collection.capabilities.vectors and (not query.order_is_exact or query.is_rescored)
    count = rescored if scored else request.k
    along = {
        "vectors": vectors or scored,
        "records": not vectors and count <= _RECORDS_ALONG,
    }
    found = _prefetch(collection, query, request, count, candidates, along)
    if not scored:
        return Ranking(found.ids[:count], found.scores[:count], found.rows)
    rows = found.rows if len(found.ids) <= count else found.rows.take(range(count))
    if not rows.ids:
        return Ranking((), np.empty(0, dtype=np.float32))
    scores = query.score(rows)
    order = best_first(scores)[: request.k]
    return Ranking(tuple(rows.ids[i] for i in order), np.maximum(scores[order], -1.0), rows)


def best_first(scores: FloatArray) -> IntArray:
    """Positions of scores, shape (n,), best first; equal ones in their order.

    Equal is what only rounding tells apart: a matrix product rounds equal rows differently, by
    where they stand in a block.
    """
    return np.asarray(np.argsort(-np.round(scores / SAME_SCORE), kind="stable"), dtype=np.int64)


def index_row(query: FoldedQuery) -> FloatArray:
    """The vector to ask the index for, shape (d,)."""
    return np.asarray(np.float32(_index_length(query)) * query.vector)


def _index_length(query: FoldedQuery) -> float:
    """Length at which the index says cosines, or the distances of vectors of one length."""
    space, mean = query.first.collection.space, query.first.norms.mean
    return {"l2": mean, "ip": 1 / mean, "cosine": 1.0}[space]


def _prefetch(
    collection: VectorCollection,
    query: FoldedQuery,
    request: SearchRequest,
    needed: int,
    candidates: int,
    along: Mapping[str, bool],
) -> Ranking:
    """The best candidates with a direction, at least `needed` where there are, then others.

    To an index a vector of zeros is as near as one of half the largest cosine (l2) or of none
    (ip, cosine), so it stands before real rows. More candidates are fetched where such rows take
    the positions of others.
    """
    space, vector = query.first.collection.space, index_row(query)
    length, count = _index_length(query), needed
    while True:
        found = collection.search(
            vector,
            k=count,
            candidates=max(candidates, count),
            where=request.where,
            where_document=request.where_document,
            **along,
        )
        cosines = _cosines(found.scores, "cosine" if space == "ip" else space, length)
        if along["vectors"] and found.rows.ids:
            blank = ~has_direction(found.rows.vectors)
        else:
            blank = _blank(collection, found.rows.ids, cosines, 0.5 if space == "l2" else 0.0)
        if len(found.rows.ids) < count or int((~blank).sum()) >= needed:
            break
        count *= _FURTHER
    scores = np.where(blank, -1.0, np.clip(cosines, -1.0, 1.0)).astype(np.float32)  # rounding
    if not blank.any():
        return Ranking(found.rows.ids, scores, found.rows)
    order = np.argsort(blank, kind="stable")
    return Ranking(tuple(found.rows.ids[i] for i in order), scores[order], found.rows.take(order))


def _blank(
    collection: VectorCollection, ids: Sequence[str], cosines: FloatArray, of_zeros: float
) -> BoolArray:
    """Which rows have no direction, shape (n,): only those that score like zeros are read."""
    near = ~(np.abs(cosines - of_zeros) > _LOOKS_LIKE_ZEROS)  # NaN too
    blank = np.zeros(len(ids), dtype=np.bool_)
    suspects = [ids[i] for i in np.flatnonzero(near).tolist()]
    if suspects and collection.capabilities.vectors:
        rows = collection.fetch(suspects, vectors=True)
        known = dict(zip(rows.ids, has_direction(rows.vectors).tolist(), strict=True))
        # What was deleted meanwhile is left out later.
        blank[near] = [not known.get(row, True) for row in suspects]
    return blank


def _cosines(scores: FloatArray, space: Space, length: float) -> FloatArray:
    """Cosines from the scores of an index for vectors and a query of one length, shape (n,)."""
    if space == "cosine":
        return scores
    cosines = scores.astype(np.float64) / (length * length)
    return np.asarray(cosines if space == "ip" else 1 + cosines / 2, dtype=np.float32)


def _refuse_unreachable(collection: VectorCollection, query: FoldedQuery) -> None:
    space, norms = query.first.collection.space, query.first.norms
    mean = norms.mean
    if space == "l2" and not SHORTEST < mean < LONGEST:
        raise ConfigError(
            f"The vectors of {collection.info().name!r} have a mean length of {mean:.3g}, whose "
            f"squares its l2 index cannot compare. Between {SHORTEST:g} and {LONGEST:g} is "
            "allowed. Search with exact=True, or store vectors of unit length."
        )
    if not query.order_is_exact and norms.spread > MAX_NORM_SPREAD:
        raise ConfigError(
            f"The vectors of {collection.info().name!r} differ in length (standard deviation "
            f"{norms.spread:.0%} of the mean) and its index uses the space "
            f"{space!r}, which ranks by length too, so an adapted prefetch would "
            f"miss results. At most {MAX_NORM_SPREAD:.0%} is allowed. Search with exact=True, or "
            "store vectors of unit length or in a cosine collection."
        )
