"""Choosing settings on folds, and saying honestly what the choice is worth."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from instruct_embeddings._types import FloatArray

Setting = TypeVar("Setting", bound=Hashable)


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

    Args:
        figures: For each setting the quality of each held-out unit, one array a fold.
        prefer: Picks a setting from the mean quality of each.

    Returns:
        The setting preferred on all folds, and the figures, shape (units,).
    """
    folds = range(len(next(iter(figures.values()))))
    honest = []
    for fold in folds:
        others = [other for other in folds if other != fold]
        means = {s: mean_quality([parts[o] for o in others]) for s, parts in figures.items()}
        honest.append(figures[prefer(means)][fold])
    everywhere = {setting: mean_quality(parts) for setting, parts in figures.items()}
    return prefer(everywhere), np.concatenate(honest)


def standard_error(gains: FloatArray) -> float:
    """Standard error of the mean of gains, shape (units,); 0 for fewer than two."""
    if len(gains) < 2:
        return 0.0
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))


def exceeds_chance(gain: float, error: float) -> bool:
    """Whether a mean gain is more than two of its standard errors.

    Labels that mean nothing pass one standard error in a fifth of all fits, two in a twentieth. Of
    true gains five sixths pass one, three quarters two: see `make bench-chance`.

    Args:
        gain: A mean.
        error: Its standard error.
    """
    return gain > 2 * error
