"""Steps of the optimiser: AdamW, its schedule, seeds, gradients averaged over processes."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from instruct_embeddings._extras import require
from instruct_embeddings.encoder.loading import choose_device
from instruct_embeddings.training.settings import OptimiserConfig

T = TypeVar("T")


def seed_of(*numbers: int) -> int:
    """One seed of several numbers, 63 bits."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rate_factor(step: int, steps: int, config: OptimiserConfig) -> float:
    """By how much of the full rate a step (from 0) learns.

    It rises linearly over the warm-up, and falls to zero at the end of the run unless it is
    constant.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    left = (steps - step) / max(1, steps - warm)
    return left if config.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def make_optimiser(
    named: Mapping[str, nn.Parameter], config: OptimiserConfig, faster: Callable[[str], float]
) -> torch.optim.Optimizer:
    """AdamW over parameters; neither soft prompts nor biases and norms decay.

    `faster` says by name how many times as fast a parameter learns.
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


class Processes:
    """The processes that train one model, most often one; `accelerate launch` starts several.

    Each has the whole model and batches of its own; `main` is the one that writes files and
    measures. Gradients are averaged once a step, whatever they came from: accumulated batches,
    chunks, the projections of the objective.
    """

    def __init__(self, device: str | None) -> None:
        """Join the others; of several GPUs each process takes its own."""
        accelerate: Any = require("accelerate", extra="train")
        state = accelerate.PartialState(cpu=device == "cpu")
        self.count: int = state.num_processes
        self.index: int = state.process_index
        self.main: bool = state.is_main_process
        self.wait: Callable[[], None] = state.wait_for_everyone
        own = device == "cpu" or self.count == 1
        self.device = choose_device(device) if own else str(state.device)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of the gradients of all."""
        if self.count == 1:
            return
        gradients = [value.grad for value in parameters if value.grad is not None]
        under_way = [distributed.all_reduce(one, async_op=True) for one in gradients]
        for work, gradient in zip(under_way, gradients, strict=True):
            work.wait()
            gradient /= self.count

    def broadcast(self, value: T) -> T:
        """What the main process passes, in all of them."""
        held = [value]
        if self.count > 1:
            distributed.broadcast_object_list(held, src=0)
        return held[0]
