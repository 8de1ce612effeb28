"""Learning from instruction-aware target vectors.

Targets of an encoder are good at the coarse and noisy at the fine: the nearest target of a text is
often a text with the same words. Three things follow, all measured (`make bench-encoder-quality`).
Targets are centred, since what all texts share under one instruction says nothing about any of
them. The space is a smooth non-linear map, which ranks better than the targets themselves. And
settings are judged by clusters of the targets: agreement with the nearest targets prefers maps
that follow the noise, and hardly tells better from worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform.bilinear import fit_ridge_map
from instruct_embeddings.transform.clusters import nearest_centre, spherical_k_means
from instruct_embeddings.transform.problem import Scorer, depth, ranking_quality
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.space import SpaceTransform, VectorEncoder, gelu
from instruct_embeddings.transform.vectors import unit_rows

MIN_ROWS = 4
_MAX_CLUSTERS = 20
_ROWS_PER_CLUSTER = 20
_MAX_UNITS = 512
_SHARPNESS = 4.0
_SMOOTHNESS = 0.05
_DIRECTION_STRENGTH = 10.0


@dataclass(frozen=True)
class TargetProblem:
    """Rows with targets; judged by the share of the best k that lie in the query's cluster.

    Attributes:
        vectors: Unit rows, shape (n, d).
        targets: Centred unit target vectors, shape (n, p).
        clusters: Cluster of each target, shape (n,).
    """

    vectors: FloatArray
    targets: FloatArray
    clusters: IntArray
    strengths: Sequence[float] = (1.0,)
    # Rescored searches are as good with any from 0.3 to 1.5. With these a folded query stays as
    # close to the stored vectors as one fitted from labels, so that an index finds its way.
    residuals: Sequence[float] = (0.6, 1.0)
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
        own = unit_rows(targets.vectors[judged])
        centred = unit_rows(own - own.mean(0))
        return cls(unit_rows(vectors[judged]), centred, find_clusters(centred))

    @property
    def measure(self) -> str:
        """Agreement at the ranks that are judged."""
        return f"agreement@{depth(self.size)}"

    @property
    def size(self) -> int:
        """Judged rows."""
        return len(self.vectors)

    @property
    def groups(self) -> IntArray:
        """Each row by itself."""
        return np.arange(self.size)

    def subset(self, units: IntArray) -> "TargetProblem":
        """Some of the rows."""
        return replace(
            self,
            vectors=self.vectors[units],
            targets=self.targets[units],
            clusters=self.clusters[units],
        )

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """A ridge map of the query onto the targets, and of stored vectors into the space.

        The index cannot map what is stored, so the query `A v + b` is multiplied by `D`, the best
        linear approach to the unit vectors that the space makes of stored ones.
        """
        del start  # closed form: nothing to warm up
        gates, bias = fit_ridge_map(self.vectors, self.targets, strength)
        mapped = self._encoder.encode(self.vectors)
        directions, _ = fit_ridge_map(self.vectors, mapped, _DIRECTION_STRENGTH)
        return QueryTransform(
            residual=self.residuals[0], gates=gates, bias=bias, directions=directions, gate="linear"
        )

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The smooth map onto the targets, ranked by cosine."""
        del query, seed
        return SpaceTransform(self._encoder, None, 0.0)

    def quality(self, score: Scorer) -> FloatArray:
        """Precision@k against the rows of the same cluster; none for a row that is alone in it."""
        same = self.clusters[:, None] == self.clusters[None]
        np.fill_diagonal(same, val=False)
        return ranking_quality(score, self.vectors, same)

    @cached_property
    def _encoder(self) -> VectorEncoder:
        return fit_smooth_map(self.vectors, self.targets)


def fit_smooth_map(vectors: FloatArray, targets: FloatArray) -> VectorEncoder:
    """Ridge regression of targets on GELU units, one at each of at most 512 sampled rows.

    A unit answers to vectors like its own row, more than in proportion: between a linear map,
    which cannot bend, and a kernel regression, which has little to say far from the sample. It is
    a closed form.

    Args:
        vectors: Unit rows, shape (n, d).
        targets: Centred unit rows, shape (n, p).

    Returns:
        Its weights have shapes (u, d) and (p, u) for u units.
    """
    mean = vectors.mean(0)
    chosen = np.unique(np.linspace(0, len(vectors) - 1, _MAX_UNITS).astype(np.int64))
    units = np.float32(_SHARPNESS) * (vectors[chosen] - mean)
    bias = -units @ mean
    weights, shift = fit_ridge_map(
        gelu(vectors @ units.T + bias), targets, 1.0 / (_SMOOTHNESS * len(units))
    )
    return VectorEncoder(((units, bias), (weights, shift)))


def held_out_agreement(vectors: FloatArray, targets: Targets) -> float:
    """How well targets can be told from stored vectors: mean cosine on the third held out.

    Args:
        vectors: Stored vectors of the sample in random order, shape (n, d).
        targets: Of the same rows.

    Returns:
        In [-1, 1]; 0 where too few rows have a target.
    """
    rows = np.flatnonzero(targets.judged)
    if len(rows) < 2 * MIN_ROWS:
        return 0.0
    held = np.arange(len(rows)) % 3 == 2
    own = unit_rows(targets.vectors[rows])
    centred = unit_rows(own - own[~held].mean(0))
    known = unit_rows(vectors[rows])
    mapped = fit_smooth_map(known[~held], centred[~held]).encode(known[held])
    return float((mapped * centred[held]).sum(1).mean())


def find_clusters(targets: FloatArray) -> IntArray:
    """Clusters by spherical k-means: at most 20, of about 20 rows or more.

    Args:
        targets: Unit rows, shape (n, p).

    Returns:
        Cluster of each row, shape (n,); the same for the same rows.
    """
    count = max(2, min(_MAX_CLUSTERS, len(targets) // _ROWS_PER_CLUSTER))
    return nearest_centre(targets, spherical_k_means(targets, count, seed=0))
