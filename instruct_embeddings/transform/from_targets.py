"""Learning from instruction-aware target vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform.bilinear import fit_ridge_map
from instruct_embeddings.transform.problem import Scorer, depth, ranking_quality
from instruct_embeddings.transform.quality import leave_self_out
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.space import SpaceTransform, VectorEncoder
from instruct_embeddings.transform.vectors import unit_rows

MIN_ROWS = 4


@dataclass(frozen=True)
class TargetProblem:
    """Rows with targets; judged by the share of the best k that are also the nearest targets.

    Attributes:
        vectors: Unit rows, shape (n, d).
        targets: Unit target vectors, shape (n, p).
    """

    vectors: FloatArray
    targets: FloatArray
    strengths: Sequence[float] = (1.0, 3.0, 0.3)
    residuals: Sequence[float] = (0.1, 0.0, 0.3)
    weights: Sequence[float] = (0.0,)

    @classmethod
    def of(cls, vectors: FloatArray, targets: Targets) -> "TargetProblem":
        """Keep the judged rows.

        Raises:
            GuideError: Fewer than four rows have a target.
        """
        judged = targets.judged
        if judged.sum() < MIN_ROWS:
            raise GuideError(
                f"The guide gave targets for {int(judged.sum())} rows; at least {MIN_ROWS} are "
                "needed. Take a larger sample."
            )
        return cls(unit_rows(vectors[judged]), unit_rows(targets.vectors[judged]))

    @property
    def measure(self) -> str:
        """Agreement at the ranks that are judged."""
        return f"agreement@{depth(self.size)}"

    @property
    def size(self) -> int:
        """Judged rows."""
        return len(self.vectors)

    def subset(self, units: IntArray) -> "TargetProblem":
        """Some of the rows."""
        return replace(self, vectors=self.vectors[units], targets=self.targets[units])

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """A ridge map `z = A v + b` onto the centred targets, folded into `A^T (A v + b)`."""
        del start  # closed form: nothing to warm up
        weights, bias = fit_ridge_map(self.vectors, self.targets, strength)
        return QueryTransform(
            residual=self.residuals[0], gates=weights, bias=bias, directions=weights, gate="linear"
        )

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The ridge map itself, ranked by cosine."""
        del seed
        return SpaceTransform(VectorEncoder(((query.gates, query.bias),)), None, 0.0)

    def quality(self, score: Scorer) -> FloatArray:
        """Precision@k against the k nearest rows in the target space; none for a single row."""
        if self.size < 2:
            return np.empty(0, dtype=np.float32)
        k = depth(self.size)
        near = leave_self_out(self.targets @ self.targets.T)
        best = np.argpartition(-near, k - 1, axis=1)[:, :k]
        relevant = np.zeros(near.shape, dtype=np.bool_)
        np.put_along_axis(relevant, best, values=True, axis=1)
        return ranking_quality(score, self.vectors, relevant)
