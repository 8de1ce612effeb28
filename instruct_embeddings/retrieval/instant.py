"""Answers of the instant query: for instructions that nothing was fitted for."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._threads import Recent
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import (
    CollectionInfo,
    CollectionMoves,
    InstantMover,
    VectorCollection,
)
from instruct_embeddings.retrieval.constraints import SEEN, Constraint, Direction
from instruct_embeddings.retrieval.instructions import kind_of
from instruct_embeddings.retrieval.prefetch import QUERIES, needed_prefetch
from instruct_embeddings.retrieval.ranking import FoldedQuery, WeightedRanker
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.transform import DEFAULT_PREFETCH, Norms
from instruct_embeddings.transform.vectors import unit_rows

_log = logging.getLogger(__name__)
_MEASURED_LENGTHS = 64
# Length of the moves of a query vector under an instruction, in the median.
_USUAL_MOVE = 0.5
_KEPT = 256


@dataclass(frozen=True)
class InstantRanker:
    """Ranks the rows of a collection for one query: its unit vector plus `move`, shape (d,)."""

    collection: CollectionInfo
    norms: Norms
    move: FloatArray
    prefetch: int
    mix = 0.0  # nothing is rescored

    @classmethod
    def unmoved(cls, collection: VectorCollection, info: CollectionInfo) -> "InstantRanker":
        """Ranks by the generic vector itself, for a judge to move; the index is measured."""
        norms, prefetch = _measured(collection, info)
        return cls(info, norms, np.zeros(info.dimension, dtype=np.float32), prefetch)

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine."""
        return self.norms.leave_cosines_to(self.collection.space)

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries `unit(v + blend * move)`, shape (n, d) to (n, d)."""
        return unit_rows(vectors + np.float32(blend) * self.move)

    def score(
        self,
        query: FloatArray,
        documents: FloatArray,
        blend: float = 1.0,
        *,
        folded: FloatArray | None = None,
    ) -> FloatArray:
        """Cosines with the folded query, shapes (1, d) and (n, d) to (n,)."""
        folded = self.fold(query, blend) if folded is None else folded
        return np.asarray(np.clip((folded @ documents.T)[0], -1.0, 1.0), dtype=np.float32)


class InstantAnswers:
    """Makes rankers for the queries of one collection.

    Each method asks the collection what it is, unless the caller knows its `info`.

    The space of the collection is looked at once, before the first answer: a dozen of its texts are
    embedded; where another model filled it, a few hundred, to find a map.
    """

    def __init__(self, collection: VectorCollection, mover: InstantMover) -> None:
        """Nothing is read before the first answer."""
        self._collection, self._mover = collection, mover
        self._space: tuple[CollectionInfo, CollectionMoves, Norms, int] | None = None
        self._unreached: set[CollectionInfo] = set()
        # The same constraints come with many queries.
        self._directions: Recent[tuple[CollectionInfo, tuple[Constraint, ...]], list[Direction]] = (
            Recent(_KEPT)
        )
        # At another blend, k or filter the same question is asked again.
        self._moves: Recent[tuple[CollectionInfo, str, str, bytes], FloatArray] = Recent(_KEPT)
        self._lock = threading.Lock()

    def ranker(
        self,
        query: str,
        vector: FloatArray,
        instruction: str,
        info: CollectionInfo | None = None,
    ) -> InstantRanker:
        """The ranker of one query; `vector` is its generic unit vector, shape (1, d).

        Raises:
            EmptyCollectionError: The collection is empty.
            GuideError: Another model filled it, and it holds too few texts for a map.
        """
        info, moves, norms, prefetch = self._known_space(info)
        key = (info, query, instruction, vector.tobytes())
        if (move := self._moves.get(key)) is None:
            alike = _compares(moves, query, instruction)
            found = moves.moves([query], instruction, vector, centred=alike)
            move = self._moves.put(key, found[0])
        return InstantRanker(info, norms, move, prefetch)

    def compares(self, query: str, instruction: str) -> bool:
        """Whether a query is a text to be compared with others in one respect; as `ranker`."""
        return _compares(self.moves, query, instruction)

    def reaches(self, info: CollectionInfo | None = None) -> bool:
        """Whether the space of the collection is known, or can be found; said once where not."""
        info = info or self._collection.info()
        if info in self._unreached:
            return False
        try:
            self._known_space(info)
        except GuideError as exc:
            self._unreached.add(info)
            _log.warning("The instant query does not serve the collection %r: %s", info.name, exc)
            return False
        return True

    def directions(
        self, constraints: Sequence[Constraint], info: CollectionInfo | None = None
    ) -> list[Direction]:
        """What constraints name, in the space of the collection; raises as `ranker`."""
        if not constraints:
            return []
        info, moves, _, _ = self._known_space(info)
        key = (info, tuple(constraints))
        found = self._directions.get(key)
        if found is None:
            vectors = moves.directions([one.phrase for one in constraints])
            seen = (moves.level(SEEN[0]), moves.level(SEEN[1]))
            pairs = zip(constraints, vectors, strict=True)
            found = self._directions.put(key, [Direction(one, row, seen) for one, row in pairs])
        return found

    @property
    def moves(self) -> CollectionMoves:
        """Moves, phrases and levels in the space of the collection; raises as `ranker`."""
        return self._known_space()[1]

    def _known_space(
        self, info: CollectionInfo | None = None
    ) -> tuple[CollectionInfo, CollectionMoves, Norms, int]:
        info = info or self._collection.info()
        with self._lock:
            if self._space is None or self._space[0] != info:
                moves = self._mover.for_collection(
                    lambda size: sample_rows(self._collection, size, seed=0)
                )
                self._space = info, moves, *_measured(self._collection, info)
            return self._space


def _compares(moves: CollectionMoves, query: str, instruction: str) -> bool:
    # "Which language is it written in?", of a text: more like this, in one respect. To a short
    # question, or under "Find the cause", the kind of text wanted matters as well.
    return kind_of(instruction) == "aspect" and moves.is_like_its_texts(query)


def _measured(collection: VectorCollection, info: CollectionInfo) -> tuple[Norms, int]:
    """Lengths of the stored vectors, by a few of them, and the prefetch of a moved query."""
    vectors = sample_rows(collection, _MEASURED_LENGTHS, seed=0).vectors
    norms, units = Norms.of(vectors), unit_rows(vectors)
    # Each is moved towards another.
    moves = np.float32(_USUAL_MOVE) * unit_rows(np.roll(units, 1, axis=0) - units)
    queries = [
        FoldedQuery(
            [WeightedRanker(InstantRanker(info, norms, move, DEFAULT_PREFETCH), "instant")],
            unit[None],
        )
        for move, unit in zip(moves[:QUERIES], units[:QUERIES], strict=True)
    ]
    return norms, needed_prefetch(collection, queries, recall=FitConfig.recall)
