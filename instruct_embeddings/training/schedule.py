"""The learning rate over a run."""

import math

from instruct_embeddings.training.settings import OptimiserConfig


def rate_factor(step: int, steps: int, config: OptimiserConfig) -> float:
    """What the highest learning rate is multiplied by.

    It rises over the warm-up, and falls to zero at the end of the run unless it is constant.

    Args:
        step: Steps done before this one, from 0.
        steps: Steps of the run.
        config: Warm-up and shape.

    Returns:
        Above 0, at most 1.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    left = (steps - step) / max(1, steps - warm)
    return left if config.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
