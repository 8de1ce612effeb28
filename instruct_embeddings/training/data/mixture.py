"""How often each group is drawn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def group_probabilities(
    rows: Sequence[int],
    sources: Sequence[int],
    weights: Sequence[float],
    *,
    temperature: float,
    max_rows: int,
) -> NDArray[np.float64]:
    """Chance of each group to give a batch.

    A set is drawn in proportion to its weight times its size to the power of `temperature`, and
    its chance is shared among its groups in the same way: a set of 119 instructions is not drawn
    119 times as often as one of a single instruction. Temperature 0 draws all sets of one weight
    equally often, 1 draws all rows of one weight equally often.

    Args:
        rows: Rows of each of g groups, at least 1.
        sources: The set of each group, as a place in `weights`.
        weights: Weight of each set.
        temperature: At least 0.
        max_rows: Further rows of a group do not count.

    Returns:
        Shape (g,); the sum is 1.
    """
    capped = np.minimum(np.asarray(rows, dtype=np.float64), max_rows)
    owner = np.asarray(sources, dtype=np.int64)
    sizes = np.bincount(owner, weights=capped, minlength=len(weights))
    within = capped**temperature
    shares = np.bincount(owner, weights=within, minlength=len(weights))
    chances = np.asarray(weights)[owner] * sizes[owner] ** temperature * within / shares[owner]
    return np.asarray(chances / chances.sum(), dtype=np.float64)
