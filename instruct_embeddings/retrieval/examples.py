"""What the examples of an instruction do to a query: a move in closed form, shrunk towards none.

A good text differs from what the query of its example finds in the collection. The mean of these
differences, as in Rocchio's relevance feedback (1971), says what the wanted texts have in common
beyond what the instruction says already. Of few examples it is mostly noise, but for two parts: how
far the move of the instruction itself should go on, and what holds for queries like those of the
examples. So, as in ridge regression with a prior, these are shrunk less than all the rest. Nothing
is fitted, and the index is asked as before.

Where texts are compared in one respect ("What colour is it?"), what is good differs from query to
query, and only queries like those of the examples are moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._threads import Recent
from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.config import Instruction
from instruct_embeddings.protocols import CollectionInfo, VectorCollection
from instruct_embeddings.retrieval.instant import InstantAnswers
from instruct_embeddings.retrieval.ranking import WeightedRanker
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.transform import InstructionTransform, nearness, softmax
from instruct_embeddings.transform.vectors import unit_rows

# Chosen on sets of `make bench-examples`; see docs/instant.md.
PENALTY = 10.0
NEAR = 8.0
_ALONG = 100.0
_FURTHEST = 0.5  # of the mean move of the instruction
_STEEPNESS = 10.0
_BAD_SHARE = 0.3
_SAMPLE = 200
_KEPT = 64


@dataclass(frozen=True)
class ExampleMove:
    """Moves a query by what examples teach.

        move(v) = common + 8 sum_i exp(4 (q_i^T v - 1)) d_i / (10 + n)

    Attributes:
        queries: Generic vectors `q_i` of the examples' queries, unit rows, shape (n, d).
        differences: `d_i`, from what is found for them to what is good, shape (n, d).
        common: The move of all queries, shape (d,): `sum_i d_i / (10 + n)`, and on where the
            instruction moves them, by at most half as far.
    """

    queries: FloatArray
    differences: FloatArray
    common: FloatArray

    @classmethod
    def of(
        cls,
        queries: FloatArray,
        folded: FloatArray,
        good: FloatArray,
        bad: FloatArray,
        has_bad: BoolArray,
        sample: FloatArray,
        *,
        comparing: bool = False,
    ) -> "ExampleMove":
        """Learn from n examples.

        Args:
            queries: Generic vectors of their queries, unit rows, as all that follow, shape (n, d).
            folded: The same as the instruction moves them, shape (n, d).
            good: Texts that answer them, shape (n, d).
            bad: Texts that do not, shape (n, d); anything where there is none.
            has_bad: Whether there is one, shape (n,).
            sample: Some rows of the collection, shape (s, d).
            comparing: Whether texts are compared, so that examples have nothing in common.
        """
        steep = np.float32(_STEEPNESS)
        found = softmax(steep * (folded @ sample.T))  # (n, s)
        share = np.float32(_BAD_SHARE) * has_bad[:, None]
        differences = good - (1 - share) * (found @ sample) - share * bad
        if comparing:
            return cls(queries, differences, np.zeros_like(differences[0]))
        along = (folded - queries).mean(axis=0)
        seen = sample @ along  # (s,)
        spread = float((found @ seen**2 - (found @ seen) ** 2).sum())
        further = _ALONG * float((differences @ along).sum())
        further /= PENALTY + _ALONG * _STEEPNESS * spread
        common = differences.sum(axis=0) / (PENALTY + len(queries))
        common += min(max(further, 0.0), _FURTHEST) * along
        return cls(queries, differences, np.asarray(common, dtype=np.float32))

    def __call__(self, query: FloatArray) -> FloatArray:
        """The move of one unit generic vector, shape (d,) to (d,)."""
        near = NEAR * nearness(query[None], self.queries)[0] / (PENALTY + len(self.queries))
        return np.asarray(self.common + near @ self.differences, dtype=np.float32)


class ExampleMoves:
    """What examples teach in one collection, kept for the instructions that were used last."""

    def __init__(self, collection: VectorCollection, answers: InstantAnswers) -> None:
        """Nothing is read yet; `answers` embeds the texts of examples."""
        self._collection, self._answers = collection, answers
        self._samples: Recent[CollectionInfo, FloatArray] = Recent(1)
        self._moves: Recent[tuple[CollectionInfo, Instruction, str, float], ExampleMove] = Recent(
            _KEPT
        )

    def shift(
        self,
        examples: Mapping[str, Instruction],
        weights: Mapping[str, float],
        rankers: Mapping[str, WeightedRanker],
        query: FloatArray,
        info: CollectionInfo,
        blend: float,
    ) -> FloatArray:
        """What the examples of instructions add to the folded query, shape (d,).

        Args:
            examples: Instructions that carry some, by their text.
            weights: Weights of all instructions by their text.
            rankers: What ranks under them; nothing moves the query under others.
            query: Its generic unit vector, shape (1, d).
            info: The collection.
            blend: Weight of the adapted score.

        Raises:
            GuideError: Another model filled the collection, and it holds too few texts for a map.
        """
        shift = np.zeros(info.dimension, dtype=np.float32)
        for text, asked in examples.items():
            one = rankers.get(text)
            own = blend * (1.0 if one is None else one.blend)
            ranks: str = "generic" if one is None else one.ranked_by
            if one is not None and isinstance(one.ranker, InstructionTransform):
                ranks += one.ranker.created  # fitted again, it moves otherwise
            key = (info, asked, ranks, own)
            move = self._moves.get(key)
            if move is None:
                move = self._moves.put(key, self._learn(asked, info, one, own))
            shift += np.float32(weights[text] * blend) * move(query[0])
        return shift

    def _learn(
        self, asked: Instruction, info: CollectionInfo, one: WeightedRanker | None, blend: float
    ) -> ExampleMove:
        texts = list(dict.fromkeys(text for each in asked.examples for text in each))
        vectors = dict(zip(texts, self._answers.moves.directions(texts), strict=True))
        queries, good, bad = (
            np.stack([vectors[each[min(place, len(each) - 1)]] for each in asked.examples])
            for place in range(3)
        )
        folded = queries
        if one is not None and one.ranked_by == "instant":
            pairs = zip(asked.examples, queries[:, None], strict=True)
            rankers = [
                (self._answers.ranker(each[0], row, asked.text, info), row) for each, row in pairs
            ]
            folded = np.concatenate([ranker.fold(row, blend) for ranker, row in rankers])
        elif one is not None:
            folded = one.ranker.fold(queries, blend)
        has_bad = np.array([len(each) == 3 for each in asked.examples])
        like = [self._answers.compares(each[0], asked.text) for each in asked.examples]
        sample, comparing = self._sample(info), 2 * sum(like) > len(like)
        return ExampleMove.of(queries, folded, good, bad, has_bad, sample, comparing=comparing)

    def _sample(self, info: CollectionInfo) -> FloatArray:
        """Some unit rows of the collection, shape (s, d)."""
        sample = self._samples.get(info)
        if sample is None:
            rows = sample_rows(self._collection, _SAMPLE, seed=0)
            sample = self._samples.put(info, unit_rows(rows.vectors))
        return sample
