"""Whether a figure, or a difference of two, is more than chance: the bootstrap."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import IntArray
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError

ROUNDS = 1000
LEVEL = 0.95
_BATCH = 100  # resamples held in memory at once

Statistic: TypeAlias = Callable[[IntArray], float]
"""A figure of some units (queries, rows, triplets), given by their positions, shape (m,)."""


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
    """What `one` gains over `other`, both computed on the same resampled units.

    Args:
        one: The figure of one method.
        other: The same figure of the method it is compared with.
        size: Number of units.
        rounds: Resamples.
        level: See `bootstrap`.
        seed: Seed of the resamples.

    Raises:
        ConfigError: `size`, `rounds` or `level` is out of its range.
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
