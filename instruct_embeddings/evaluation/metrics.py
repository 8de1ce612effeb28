"""Agreement of clusters with labels, and triplets: which of two texts is closer to a third."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.transform.quality import Statistic, mean_of

_RESTARTS = 3


def codes(labels: Sequence[str]) -> IntArray:
    """Labels as numbers from 0, in alphabetical order, shape (n,)."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)


def k_means(vectors: FloatArray, clusters: int, seed: int) -> IntArray:
    """Cluster of each row, the best of three starts; shape (n, d) to (n,)."""
    model = require("sklearn.cluster", extra="eval").KMeans
    found = model(clusters, n_init=_RESTARTS, random_state=seed).fit_predict(vectors)
    return np.asarray(found, dtype=np.int64)


def v_measure(labels: IntArray, clusters: IntArray) -> float:
    """Harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg, 2007).

    1 where clusters and labels, as numbers from 0 of shape (n,), are the same partition, 0 where
    they are independent. The same figure as `sklearn.metrics.v_measure_score`, 50 times as fast: a
    bootstrap computes thousands of them.
    """
    shape = int(labels.max()) + 1, int(clusters.max()) + 1
    joint = np.bincount(labels * shape[1] + clusters, minlength=shape[0] * shape[1])
    counts = joint.reshape(shape)
    entropies = _entropy(counts.sum(1)) + _entropy(counts.sum(0))
    shared = max(0.0, entropies - _entropy(joint))
    return 2 * shared / entropies if entropies else 1.0


def v_measure_of(labels: IntArray, clusters: IntArray) -> Statistic:
    """V-measure as a statistic of rows: clusters are not found again for a resample."""
    return lambda rows: v_measure(labels[rows], clusters[rows])


def _entropy(counts: IntArray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@dataclass(frozen=True)
class Triplets:
    """Rows of texts: an anchor, one that shares its first aspect only, one that shares its second.

    Each of shape (t,).
    """

    anchors: IntArray
    first: IntArray
    second: IntArray

    def __len__(self) -> int:
        return len(self.anchors)


def draw_triplets(labels: NDArray[Any], most: int, rng: np.random.Generator) -> Triplets:
    """Triplets drawn at random; each row is an anchor as seldom as possible.

    `most` come back, of labels in two aspects of shape (n, 2). Where one aspect decides the other,
    as intents decide their scenario, no row can be an anchor, and there are none.
    """
    only_first, only_second = _shared(labels)
    usable = np.flatnonzero(only_first.any(1) & only_second.any(1))
    rounds = [rng.permutation(usable) for _ in range(-(-most // max(1, len(usable))))]
    anchors = np.concatenate(rounds)[:most] if len(usable) else usable
    return Triplets(
        anchors,
        np.array([rng.choice(np.flatnonzero(only_first[a])) for a in anchors], dtype=np.int64),
        np.array([rng.choice(np.flatnonzero(only_second[a])) for a in anchors], dtype=np.int64),
    )


def can_be_anchors(labels: NDArray[Any]) -> IntArray:
    """Rows of which triplets can start; labels of shape (n, 2), rows of shape (m,)."""
    only_first, only_second = _shared(labels)
    return np.flatnonzero(only_first.any(1) & only_second.any(1))


def closer(embeddings: FloatArray, anchors: IntArray, near: IntArray, far: IntArray) -> FloatArray:
    """Whether each anchor lies closer to one row than to another, by inner product.

    1 where `near` is closer than `far`, 0.5 where both are as close, else 0; unit rows of shape
    (n, d), positions and answers of shape (t,).
    """
    gaps = np.einsum("td,td->t", embeddings[anchors], embeddings[near] - embeddings[far])
    return np.asarray((np.sign(gaps) + 1) / 2, dtype=np.float32)


def triplet_accuracy(
    under_first: FloatArray, under_second: FloatArray, triplets: Triplets
) -> Statistic:
    """Share of right answers under both instructions; a statistic of triplets.

    Unit rows under the instruction of the first aspect, shape (n, d), and of the second, (n, e).
    """
    first = closer(under_first, triplets.anchors, triplets.first, triplets.second)
    second = closer(under_second, triplets.anchors, triplets.second, triplets.first)
    return mean_of((first + second) / 2)


def conditioned_similarity(
    under_first: FloatArray, under_second: FloatArray, triplets: Triplets
) -> Statistic:
    """Spearman correlation of cosines with agreement in what is asked; a statistic of triplets.

    Each triplet gives two pairs, each of which agrees under one instruction and differs under the
    other; arguments as for `triplet_accuracy`.
    """
    cosines = np.stack(
        [
            np.einsum("td,td->t", vectors[triplets.anchors], vectors[others])
            for vectors in (under_first, under_second)
            for others in (triplets.first, triplets.second)
        ]
    )  # (4, t): agrees, differs, differs, agrees
    return lambda units: _spearman(cosines[:, units], np.array([1.0, 0.0, 0.0, 1.0]))


def _shared(labels: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows share the first label only, and which the second only; shape (n, n) each."""
    same = labels[:, None] == labels[None]
    return same[..., 0] & ~same[..., 1], same[..., 1] & ~same[..., 0]


def _spearman(values: FloatArray, agrees: NDArray[np.float64]) -> float:
    """Of values, shape (4, t), with the same answers for each column, shape (4,)."""
    from scipy.stats import rankdata

    # The mean of the answers is a half, so the ranks need no centring of their own.
    ranks = rankdata(values).reshape(values.shape)
    spread = ranks.std()
    return float((ranks * (agrees - 0.5)[:, None]).mean() / (0.5 * spread)) if spread else 0.0
