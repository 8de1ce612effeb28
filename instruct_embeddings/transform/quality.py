"""How good a ranking is, measured on rows whose labels or whose relevance is known."""

from collections.abc import Mapping, Sequence
from math import log2

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


def ndcg_at_k(found: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Discounted gain of a ranking, as a share of the best one: 1 where nothing could be better.

    The gain of a row is its grade, divided by `log2(1 + rank)`. Rows are taken as they were
    ranked, equal scores included; a row that is found twice counts where it comes first.

        >>> round(ndcg_at_k(["b", "a"], {"a": 1.0}, k=10), 3)  # 1 / log2(3)
        0.631

    Args:
        found: Ids, best first.
        grades: How relevant each relevant row is, above zero; at least one.
        k: Rows looked at.
    """
    gains = [grades.get(row, 0.0) for row in list(dict.fromkeys(found))[:k]]
    return _discounted(gains) / _discounted(sorted(grades.values(), reverse=True)[:k])


def recall_at_k(found: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Share of the relevant rows among the best `k`, whatever their grades.

        >>> recall_at_k(["b", "a"], {"a": 1.0, "c": 1.0}, k=10)
        0.5

    Args:
        found: Ids, best first.
        grades: The relevant rows; at least one.
        k: Rows looked at.
    """
    return len(set(list(dict.fromkeys(found))[:k]) & set(grades)) / len(grades)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))
