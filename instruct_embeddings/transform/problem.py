"""What fitting needs of supervision, whatever its form."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

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
        """Inverse penalties to try, the most likely first."""
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

    def subset(self, units: IntArray) -> Self:
        """The same problem on some of its units."""
        ...

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """Fit the folded query on all units; `start`, fitted for another strength, saves steps."""
        ...

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """Fit the rescoring space on all units, given the folded query fitted on them."""
        ...

    def quality(self, score: Scorer) -> float:
        """How well a scorer agrees with the supervision of these units, higher is better."""
        ...


def depth(rows: int) -> int:
    """Ranks that are judged: ten, or half of the others in a small fold.

    Among all others every ranking finds the same rows, so nothing could be told apart.
    """
    return max(1, min(MAX_K, (rows - 1) // 2))


def ranking_quality(score: Scorer, vectors: FloatArray, relevant: BoolArray) -> float:
    """Mean precision@k of every row as a query over the others; 0 where none is relevant.

    Args:
        score: The scorer.
        vectors: Unit rows, shape (n, d).
        relevant: Whether row j answers query i, shape (n, n).
    """
    answerable = relevant.any(axis=1)
    if not answerable.any():
        return 0.0
    scores = leave_self_out(score(vectors, vectors))
    k = depth(len(vectors))
    return float(precision_at_k(scores[answerable], relevant[answerable], k).mean())
