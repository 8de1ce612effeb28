"""AdamW, its schedule and the seeds of steps, as every training run takes them."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from instruct_embeddings.training.settings import OptimiserConfig


def seed_of(*numbers: int) -> int:
    """One seed of several numbers, 63 bits."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rate_factor(step: int, steps: int, config: OptimiserConfig) -> float:
    """What the highest learning rate is multiplied by: above 0, at most 1.

    It rises over the warm-up, and falls to zero at the end of the run unless it is constant.

    Args:
        step: Steps done before this one, from 0.
        steps: Steps of the run.
        config: Warm-up and shape.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    left = (steps - step) / max(1, steps - warm)
    return left if config.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def make_optimiser(
    named: Mapping[str, nn.Parameter],
    config: OptimiserConfig,
    faster: Callable[[str], float] = lambda name: 1.0,
) -> torch.optim.Optimizer:
    """AdamW over parameters; neither soft prompts nor biases and norms decay.

    Args:
        named: The parameters by name.
        config: Learning rate and weight decay.
        faster: By name, how many times as fast a parameter learns.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in named.items():
        decays = name != "soft_prompts" and value.dim() > 1
        key = config.learning_rate * faster(name), config.weight_decay if decays else 0.0
        groups.setdefault(key, []).append(value)
    made: list[dict[str, Any]] = [
        {"params": values, "lr": rate, "full_rate": rate, "weight_decay": decay}
        for (rate, decay), values in groups.items()
    ]
    return torch.optim.AdamW(made, betas=(0.9, 0.98))


def update(
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    config: OptimiserConfig,
    step: int,
    steps: int,
) -> None:
    """One step of the optimiser on the gradients of its parameters; see `rate_factor`."""
    factor = rate_factor(step, steps, config)
    for group in optimiser.param_groups:
        group["lr"] = group["full_rate"] * factor
    if config.clip:
        nn.utils.clip_grad_norm_(list(named.values()), config.clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
