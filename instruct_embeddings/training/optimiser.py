"""AdamW, and the seeds of steps, as every training run takes them."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from instruct_embeddings.training.schedule import rate_factor
from instruct_embeddings.training.settings import OptimiserConfig


def seed_of(*numbers: int) -> int:
    """One seed of several numbers, 63 bits."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_optimiser(
    named: Mapping[str, nn.Parameter], settings: Callable[[str, nn.Parameter], tuple[float, float]]
) -> torch.optim.Optimizer:
    """AdamW over parameters.

    Args:
        named: The parameters by name.
        settings: Learning rate and weight decay of each.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in named.items():
        groups.setdefault(settings(name, value), []).append(value)
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
    """One step of the optimiser.

    Args:
        optimiser: Made by `make_optimiser`.
        named: Its parameters, with their gradients.
        config: Schedule and clipping.
        step: Steps done before.
        steps: Steps of the run.
    """
    factor = rate_factor(step, steps, config)
    for group in optimiser.param_groups:
        group["lr"] = group["full_rate"] * factor
    if config.clip:
        nn.utils.clip_grad_norm_(list(named.values()), config.clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
