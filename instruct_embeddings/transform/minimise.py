"""L-BFGS, for the small convex problems of a fit.

SciPy's takes half a second to import and converts to float64 and back at each step; both are long
beside a fit that takes one.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from instruct_embeddings._types import FloatArray

_MEMORY = 10
# Of the decrease that the slope promises, so much is enough (the Armijo condition).
_ENOUGH = 1e-4
_HALVINGS = 20
# Losses that differ by less, relatively, are equal in float32.
_EQUAL = 1e-7


def minimise(
    loss_and_gradient: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    steps: int,
) -> FloatArray:
    """Parameters of a lower loss, shape (p,), after at most some steps from a start.

    Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5, with halving of the step.
    """
    x = start
    loss, gradient = loss_and_gradient(x)
    pairs: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=_MEMORY)
    for _ in range(steps):
        direction = -_scaled(gradient, pairs)
        slope = float(direction @ gradient)
        if not slope < 0:
            break
        # Nothing is known of the scale before the first step.
        size = 1.0 if pairs else min(1.0, 1.0 / float(np.linalg.norm(gradient)))
        for _ in range(_HALVINGS):
            moved = x + x.dtype.type(size) * direction
            new, changed = loss_and_gradient(moved)
            if new <= loss + _ENOUGH * size * slope:
                break
            size /= 2
        else:
            break
        change, bend = moved - x, changed - gradient
        curvature = float(change @ bend)
        if curvature > 0:
            pairs.append((change, bend, curvature))
        equal = loss - new <= _EQUAL * max(abs(loss), abs(new))
        x, loss, gradient = moved, new, changed
        if equal:
            break
    return x


def _scaled(
    gradient: FloatArray, pairs: "deque[tuple[FloatArray, FloatArray, float]]"
) -> FloatArray:
    """The gradient times the inverse curvature that the last steps have shown."""
    found, shares = gradient.copy(), []
    for change, bend, curvature in reversed(pairs):
        share = (change @ found) / curvature
        found -= share * bend
        shares.append(share)
    if pairs:
        _, bend, curvature = pairs[-1]
        found *= curvature / (bend @ bend)
    for (change, bend, curvature), share in zip(pairs, reversed(shares), strict=True):
        found += (share - (bend @ found) / curvature) * change
    return found
