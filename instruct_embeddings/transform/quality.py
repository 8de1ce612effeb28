"""How good a ranking is, measured on rows whose labels are known."""

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray


def precision_at_k(scores: FloatArray, relevant: BoolArray, k: int) -> FloatArray:
    """Share of relevant rows among the best `k` of each query.

    Args:
        scores: Higher is better, shape (q, n). A score of minus infinity excludes a row, as for
            the query itself.
        relevant: Whether row j answers query i, shape (q, n).
        k: Rows looked at; at most n.

    Returns:
        Precision of each query, shape (q,).
    """
    best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
    found = np.take_along_axis(relevant, best, axis=1)
    return np.asarray(found.mean(axis=1), dtype=np.float32)


def label_matches(targets: FloatArray) -> BoolArray:
    """Rows that share a label.

    Args:
        targets: Label weights, shape (n, c); zero where a row lacks a label.

    Returns:
        Shape (n, n); the diagonal is False.
    """
    matches = np.asarray((targets @ targets.T) > 0)
    np.fill_diagonal(matches, val=False)
    return matches


def leave_self_out(scores: FloatArray) -> FloatArray:
    """A square score matrix whose rows cannot find themselves, shape (n, n)."""
    out = scores.copy()
    np.fill_diagonal(out, -np.inf)
    return out
