"""How good rankings are, query by query, and what one gains over another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.transform.quality import (
    ROUNDS,
    Difference,
    Statistic,
    paired_bootstrap,
)

NDCG_AT, RECALL_AT = 10, 100


def ndcg(scores: FloatArray, relevant: BoolArray, k: int = NDCG_AT) -> FloatArray:
    """nDCG of each query; an answer counts 1, whatever its grade.

    Args:
        scores: Higher is better, shape (q, n); of equal ones the first row comes first.
        relevant: Whether row j answers query i, at least one for each query, shape (q, n).
        k: Rows looked at.

    Returns:
        Shape (q,).
    """
    hits = np.take_along_axis(relevant, _best(scores, k), axis=1)
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate([[0], np.cumsum(discounts)])
    most = np.minimum(relevant.sum(axis=1), len(discounts))
    return np.asarray(hits @ discounts / ideal[most], dtype=np.float32)


def recall(scores: FloatArray, relevant: BoolArray, k: int = RECALL_AT) -> FloatArray:
    """Share of the answers among the best `k` of each query, shape (q,); see `ndcg`."""
    hits = np.take_along_axis(relevant, _best(scores, k), axis=1)
    return np.asarray(hits.sum(axis=1) / relevant.sum(axis=1), dtype=np.float32)


def couples_in_order(scores: FloatArray, right: IntArray, wrong: IntArray) -> tuple[float, int]:
    """How many couples of a right and a wrong row are in the right order, and of how many.

    Args:
        scores: Of all rows for one query, shape (n,).
        right: Rows that answer it under its instruction.
        wrong: Rows that answer it under another instruction only.

    Returns:
        The number in the right order, where equal scores count one half, and the number of couples.
    """
    gaps = np.sign(scores[right][:, None] - scores[wrong][None])
    return float(((gaps + 1) / 2).sum()), gaps.size


def order_by_group(
    counted: Sequence[tuple[float, int]], groups: IntArray
) -> tuple[FloatArray, IntArray]:
    """Share of couples in the right order in each group.

    A ranking that ignores the instruction gets exactly one half in each group whose instructions
    have no answers in common.

    Args:
        counted: What `couples_in_order` says of each query.
        groups: The group of each query, shape (q,).

    Returns:
        The shares, and the groups that have couples, both of shape (g,).
    """
    right, couples = np.array(counted, dtype=np.float64).reshape(-1, 2).T
    known = np.array([g for g in np.unique(groups) if couples[groups == g].sum()], dtype=np.int64)
    shares = [right[groups == g].sum() / couples[groups == g].sum() for g in known]
    return np.asarray(shares, dtype=np.float32), known


def gain(
    ours: FloatArray,
    base: FloatArray,
    groups: IntArray | None = None,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Difference | None:
    """The difference of two means with its paired bootstrap interval.

    Args:
        ours: One figure a query, shape (q,).
        base: The same of what it is compared with.
        groups: Queries of one group are drawn together; by default each is alone. Shape (q,).
        rounds: Resamples.
        seed: Seed of the resamples.

    Returns:
        None where there are fewer than two groups to draw from.
    """
    places = np.arange(len(ours)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(places)
    if len(sizes) < 2:
        return None
    one, other = (_mean_over(each, places, sizes) for each in (ours, base))
    return paired_bootstrap(one, other, len(sizes), rounds=rounds, seed=seed)


def _mean_over(values: FloatArray, places: IntArray, sizes: IntArray) -> Statistic:
    sums: NDArray[np.float64] = np.zeros(len(sizes))
    np.add.at(sums, places, values)
    return lambda units: float(sums[units].sum() / sizes[units].sum())


def _best(scores: FloatArray, k: int) -> IntArray:
    return np.asarray(np.argsort(-scores, axis=1, kind="stable")[:, :k])
