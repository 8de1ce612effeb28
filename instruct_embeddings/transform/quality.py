"""How good a ranking is where labels or relevance are known, and whether a gain is chance."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError

MAX_K = 10

Scorer: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""Scores of unit generic vectors: (q, d), (n, d) -> (q, n)."""

Setting = TypeVar("Setting", bound=Hashable)

ROUNDS = 1000
LEVEL = 0.95
_BATCH = 100  # resamples held in memory at once

Statistic: TypeAlias = Callable[[IntArray], float]
"""A figure of some units (queries, rows, triplets), given by their positions, shape (m,)."""


def precision_at_k(scores: FloatArray, relevant: BoolArray, k: int) -> FloatArray:
    """Share of relevant rows among the best `k` <= n of each query, (q, n), (q, n) to (q,).

    A score of minus infinity excludes a row, as for the query itself.
    """
    best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
    found = np.take_along_axis(relevant, best, axis=1)
    return np.asarray(found.mean(axis=1), dtype=np.float32)


def depth(rows: int) -> int:
    """Ranks that are judged: ten, or half of the others in a small fold.

    Among all others every ranking finds the same rows, so nothing could be distinguished.
    """
    return max(1, min(MAX_K, (rows - 1) // 2))


def ranking_quality(score: Scorer, vectors: FloatArray, relevant: BoolArray) -> FloatArray:
    """Precision@k of each unit row, shape (n, d), as a query over the others.

    Whether row j answers query i has shape (n, n); rows without a relevant one are left out.
    """
    answerable = relevant.any(axis=1)
    if not answerable.any():
        return np.empty(0, dtype=np.float32)
    scores = leave_self_out(score(vectors, vectors))
    return precision_at_k(scores[answerable], relevant[answerable], depth(len(vectors)))


def label_matches(targets: FloatArray) -> BoolArray:
    """Rows that share a label: label weights (n, c) to (n, n), whose diagonal is False."""
    matches = np.asarray((targets @ targets.T) > 0)
    np.fill_diagonal(matches, val=False)
    return matches


def class_matches(classes: IntArray) -> BoolArray:
    """Rows of the same class: one number a row, (n,) to (n, n), whose diagonal is False."""
    matches = np.asarray(classes[:, None] == classes)
    np.fill_diagonal(matches, val=False)
    return matches


def leave_self_out(scores: FloatArray) -> FloatArray:
    """A copy of scores in which rows cannot find themselves: query i is row i, shape (q, n)."""
    out = scores.copy()
    np.fill_diagonal(out, -np.inf)
    return out


def ndcg_at_k(found: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Discounted gain of ids, best first, as a share of the best one.

    The gain of a row is its grade, above zero, divided by `log2(1 + rank)`; one that is found twice
    counts where it comes first.

        >>> round(ndcg_at_k(["b", "a"], {"a": 1.0}, k=10), 3)  # 1 / log2(3)
        0.631
    """
    gains = [grades.get(row, 0.0) for row in list(dict.fromkeys(found))[:k]]
    return _discounted(gains) / _discounted(sorted(grades.values(), reverse=True)[:k])


def recall_at_k(found: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Share of the relevant rows among the best `k` ids, best first, whatever their grades.

    >>> recall_at_k(["b", "a"], {"a": 1.0, "c": 1.0}, k=10)
    0.5
    """
    return len(set(list(dict.fromkeys(found))[:k]) & set(grades)) / len(grades)


def mean_quality(folds: Sequence[FloatArray]) -> float:
    """Mean over all held-out units of all folds; 0 where there are none."""
    units = np.concatenate(folds) if folds else np.empty(0, dtype=np.float32)
    return float(units.mean()) if units.size else 0.0


def choose(
    figures: Mapping[Setting, Sequence[FloatArray]],
    prefer: Callable[[Mapping[Setting, float]], Setting],
) -> tuple[Setting, FloatArray]:
    """The preferred setting, and figures that its choice did not flatter.

    The best of many settings looks better on the folds it was chosen on than it is. So the figures
    of each fold are those of the setting that is preferred on the *other* folds (nested
    cross-validation without any further fit).

    `figures` holds for each setting the quality of each held-out unit, one array a fold; the
    figures that come out have shape (units,).
    """
    folds = range(len(next(iter(figures.values()))))
    honest = []
    for fold in folds:
        others = [other for other in folds if other != fold]
        means = {s: mean_quality([arrays[o] for o in others]) for s, arrays in figures.items()}
        honest.append(figures[prefer(means)][fold])
    everywhere = {setting: mean_quality(arrays) for setting, arrays in figures.items()}
    return prefer(everywhere), np.concatenate(honest)


def best_mean(means: Mapping[Setting, float]) -> Setting:
    """The setting of the highest mean; of equal ones the first."""
    return max(means, key=means.__getitem__)


def standard_error(gains: FloatArray) -> float:
    """Standard error of the mean of gains, shape (units,); 0 for fewer than two."""
    if len(gains) < 2:
        return 0.0
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))


def exceeds_chance(gain: float, error: float) -> bool:
    """Whether a mean gain is more than two of its standard errors.

    Labels that mean nothing pass one standard error in a fifth of all fits, two in a twentieth. Of
    true gains five sixths pass one, three quarters two: see `make bench-chance`.
    """
    return gain > 2 * error


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))


@dataclass(frozen=True)
class Estimate:
    """A figure and its bootstrap interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end.
        level: Share of such intervals that hold the true figure, about.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """The figure, the interval in brackets."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference(Estimate):
    """What one method gains over another, measured on the same units.

    Attributes:
        p_value: Two-sided: how often resampled units give a difference as far from zero on the
            other side, at the least 2 / (rounds + 1).
    """

    p_value: float = 1.0

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance at the level of the interval."""
        return self.p_value <= 1 - self.level

    def brief(self) -> str:
        """The difference and its p-value, for a table."""
        return f"{signed(self.value)} (p={self.p_value:.3f})"

    def __str__(self) -> str:
        """The difference with its sign, the interval, the p-value."""
        ends = f"[{signed(self.low)}, {signed(self.high)}]"
        return f"{signed(self.value)} {ends} p={self.p_value:.3f}"


def signed(value: float) -> str:
    """A difference with three digits and its sign; what rounds to zero is `+0.000`."""
    return f"{round(value, 3) + 0.0:+.3f}"


def mean_of(values: ArrayLike) -> Statistic:
    """The mean of one value a unit, shape (n,), as a statistic."""
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    return lambda units: float(array[units].mean())


def bootstrap(
    statistic: Statistic, size: int, *, rounds: int = ROUNDS, level: float = LEVEL, seed: int = 0
) -> Estimate:
    """A figure with its bootstrap interval (Efron, 1979).

    The interval lies between percentiles of the resampled figures, moved by their bias: resamples
    repeat units, which raises some figures a little, V-measure among them.

    Args:
        statistic: The figure of any units.
        size: Number of units.
        rounds: Resamples.
        level: Share of the resampled figures between the ends of the interval.
        seed: Seed of the resamples.

    Raises:
        ConfigError: `size`, `rounds` or `level` is out of its range.
    """
    value, low, high, _ = _resampled(statistic, size, rounds, level, seed)
    return Estimate(value, low, high, level)


def paired_bootstrap(
    one: Statistic,
    other: Statistic,
    size: int,
    *,
    rounds: int = ROUNDS,
    level: float = LEVEL,
    seed: int = 0,
) -> Difference:
    """What `one` gains over `other`, the same figure of another method, on the same units.

    Arguments and errors are those of `bootstrap`.
    """
    value, low, high, found = _resampled(
        lambda units: one(units) - other(units), size, rounds, level, seed
    )
    beyond = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return Difference(value, low, high, level, min(1.0, 2 * (beyond + 1) / (rounds + 1)))


def _resampled(
    statistic: Statistic, size: int, rounds: int, level: float, seed: int
) -> tuple[float, float, float, NDArray[np.float64]]:
    """The figure, the ends of its interval, and the resampled figures without their bias."""
    from scipy import stats

    at_least("size", size, 2, optional=False)
    at_least("rounds", rounds, 100, optional=False)
    if not 0 < level < 1:
        raise ConfigError(f"level={level!r} is not between 0 and 1. Use a value such as {LEVEL}.")
    value = statistic(np.arange(size))
    found = stats.bootstrap(
        (np.arange(size),),
        statistic,
        vectorized=False,
        n_resamples=rounds,
        batch=_BATCH,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    resampled = found.bootstrap_distribution
    bias = resampled.mean() - value
    low, high = found.confidence_interval
    return value, float(low - bias), float(high - bias), resampled - bias
