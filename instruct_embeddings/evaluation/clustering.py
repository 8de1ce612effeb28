"""How well clusters agree with labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.transform.significance import Statistic

_RESTARTS = 3


def codes(labels: Sequence[str]) -> IntArray:
    """Labels as numbers from 0, in alphabetical order, shape (n,)."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)


def k_means(vectors: FloatArray, clusters: int, seed: int) -> IntArray:
    """Clusters of rows, the best of three starts.

    Args:
        vectors: Shape (n, d).
        clusters: How many, at most n.
        seed: Seed of the starts.

    Returns:
        Number of the cluster of each row, shape (n,).

    Raises:
        ConfigError: There are more clusters than rows, or none.
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    if not 1 <= clusters <= len(vectors):
        raise ConfigError(
            f"{len(vectors)} rows cannot be put into {clusters} clusters. Ask for at least one "
            "cluster, and at most one a row."
        )
    model = require("sklearn.cluster", extra="eval").KMeans
    found = model(clusters, n_init=_RESTARTS, random_state=seed).fit_predict(vectors)
    return np.asarray(found, dtype=np.int64)


def v_measure(labels: IntArray, clusters: IntArray) -> float:
    """Harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg, 2007).

    Args:
        labels: Label of each row as a number from 0, shape (n,).
        clusters: Cluster of each row as a number from 0, shape (n,).

    Returns:
        1 where clusters and labels are the same partition, 0 where they know nothing of each other.

    Raises:
        ConfigError: The two differ in length, or are empty.
    """
    if len(labels) != len(clusters) or not len(labels):
        raise ConfigError(
            f"Got {len(labels)} labels and {len(clusters)} clusters. Pass one of each for every "
            "row, and at least one row."
        )
    shape = int(labels.max()) + 1, int(clusters.max()) + 1
    joint = np.bincount(labels * shape[1] + clusters, minlength=shape[0] * shape[1])
    table = joint.reshape(shape) / len(labels)
    of_labels, of_clusters = _entropy(table.sum(1)), _entropy(table.sum(0))
    shared = max(0.0, of_labels + of_clusters - _entropy(table.ravel()))
    homogeneity = shared / of_labels if of_labels else 1.0
    completeness = shared / of_clusters if of_clusters else 1.0
    both = homogeneity + completeness
    return 2 * homogeneity * completeness / both if both else 0.0


def v_measure_of(labels: IntArray, clusters: IntArray) -> Statistic:
    """V-measure as a statistic of rows: clusters are not found again for a resample."""
    return lambda rows: v_measure(labels[rows], clusters[rows])


def _entropy(shares: NDArray[np.float64]) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())
