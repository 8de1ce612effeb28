"""What fitting needs of supervision, whatever its form."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.transform.quality import leave_self_out, precision_at_k
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.space import SpaceTransform

MAX_K = 10

Scorer: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""Scores of unit generic vectors: (q, d), (n, d) -> (q, n)."""


class Problem(Protocol):
    """A judged sample that can be split, fitted and judged again."""

    @property
    def strengths(self) -> Sequence[float]:
        """Inverse penalties to try: the most likely, a larger one, a smaller one."""
        ...

    @property
    def residuals(self) -> Sequence[float]:
        """Weights of the generic vector in the folded query to try."""
        ...

    @property
    def weights(self) -> Sequence[float]:
        """Weights of the classifier in the space to try."""
        ...

    @property
    def measure(self) -> str:
        """Name of what `quality` returns on these units."""
        ...

    @property
    def size(self) -> int:
        """Units that can be split: judged rows, or pairs."""
        ...

    @property
    def groups(self) -> IntArray:
        """Group of each unit, shape (size,); where there are enough, a fold holds whole groups."""
        ...

    def subset(self, units: IntArray) -> Self:
        """The same problem on some of its units."""
        ...

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """Fit the folded query on all units; `start`, fitted for another strength, saves steps."""
        ...

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """Fit the rescoring space on all units, given the folded query fitted on them."""
        ...

    def quality(self, score: Scorer) -> FloatArray:
        """How well a scorer agrees with the supervision of each of these units, in [0, 1].

        Units that no scorer could get right are left out, so every scorer gets the same number.
        """
        ...


def depth(rows: int) -> int:
    """Ranks that are judged: ten, or half of the others in a small fold.

    Among all others every ranking finds the same rows, so nothing could be told apart.
    """
    return max(1, min(MAX_K, (rows - 1) // 2))


def ranking_quality(score: Scorer, vectors: FloatArray, relevant: BoolArray) -> FloatArray:
    """Precision@k of each row as a query over the others; rows without a relevant one are left out.

    Args:
        score: The scorer.
        vectors: Unit rows, shape (n, d).
        relevant: Whether row j answers query i, shape (n, n).
    """
    answerable = relevant.any(axis=1)
    if not answerable.any():
        return np.empty(0, dtype=np.float32)
    scores = leave_self_out(score(vectors, vectors))
    return precision_at_k(scores[answerable], relevant[answerable], depth(len(vectors)))
