"""Whether embeddings obey an instruction: pure functions on arrays."""

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.errors import ConfigError


def closer(embeddings: FloatArray, anchors: IntArray, near: IntArray, far: IntArray) -> FloatArray:
    """Whether each anchor lies closer to one row than to another, by inner product.

    The mean over triplets is the triplet accuracy. With rows that share one aspect with their
    anchor in `near` and rows that share another aspect in `far`, embeddings that ignore the
    instruction score as much below 0.5 under one of the two as above it under the other.

    Args:
        embeddings: Unit rows, shape (n, d).
        anchors: Rows to start from, shape (t,).
        near: Rows that should be closer, shape (t,).
        far: Rows that should be farther away, shape (t,).

    Returns:
        1 where it is closer, 0.5 where both are as close, else 0; shape (t,).

    Raises:
        ConfigError: The three arrays of rows differ in length.
    """
    if not len(anchors) == len(near) == len(far):
        raise ConfigError(
            f"Triplets need three rows each, got {len(anchors)} anchors, {len(near)} near and "
            f"{len(far)} far ones. Pass three arrays of the same length."
        )
    starts = embeddings[anchors]
    gaps = np.einsum("td,td->t", starts, embeddings[near] - embeddings[far])
    return np.asarray((np.sign(gaps) + 1) / 2, dtype=np.float32)


def neighbour_overlap(scores: FloatArray, others: FloatArray, k: int) -> FloatArray:
    """Share of the best `k` rows of each query that are also the best under other scores.

    Args:
        scores: Higher is better, shape (q, n). A score of minus infinity excludes a row, as for
            the query itself.
        others: Scores of the same rows for the same queries, shape (q, n).
        k: Rows looked at, at most n.

    Returns:
        Shape (q,): 1 where both find the same rows, 0 where they have none in common.

    Raises:
        ConfigError: The scores differ in shape, or `k` is out of range.
    """
    if scores.shape != others.shape:
        raise ConfigError(
            f"Scores of shape {scores.shape} and {others.shape} cannot be compared. Score the "
            "same rows for the same queries, shape (q, n) both."
        )
    if not 1 <= k <= scores.shape[1]:
        raise ConfigError(
            f"k={k} is not between 1 and the number of rows, {scores.shape[1]}. Pass a smaller k."
        )
    both = _best(scores, k) & _best(others, k)
    return np.asarray(both.sum(axis=1) / k, dtype=np.float32)


def _best(scores: FloatArray, k: int) -> BoolArray:
    order = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    best = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(best, order, values=True, axis=1)
    return best
