"""What a run works with, and one step of it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from instruct_embeddings.training.batch_step import BatchStep
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data import BatchSource
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.processes import Processes
from instruct_embeddings.training.schedule import rate_factor
from instruct_embeddings.training.student import Student, make_student


@dataclass(frozen=True)
class RunParts:
    """What a run works with.

    Attributes:
        student: What is trained.
        step: Computes its gradients.
        named: The parameters that are trained, by name.
        optimiser: Of these parameters.
    """

    student: Student
    step: BatchStep
    named: dict[str, nn.Parameter]
    optimiser: torch.optim.Optimizer


def make_parts(config: TrainingConfig, device: str) -> RunParts:
    """Load what a run works with.

    Raises:
        ConfigError: Settings do not fit the model.
        ModelNotFoundError, CheckpointError: A model cannot be used.
    """
    student = make_student(config.model, config.backbone, device=device, seed=config.run.seed)
    step = BatchStep(config, student)
    named = student.trainable() | step.own_parameters()
    return RunParts(student, step, named, _optimiser(config, named))


def take_step(
    config: TrainingConfig,
    parts: RunParts,
    source: BatchSource,
    processes: Processes,
    step: int,
    window: Window,
) -> tuple[Window, int]:
    """One step of the optimiser.

    Args:
        config: The whole run.
        parts: What it works with.
        source: Draws its batches.
        processes: All that take this step.
        step: Steps done before.
        window: What happened before.

    Returns:
        The window with the batches of this step, and the examples that were left out.

    Raises:
        ConfigError: The loss is no finite number any more.
        DataError: A file changed; no text of a batch fits into its rows.
    """
    run, dropped = config.run, 0
    # Dropout of a step does not depend on the steps before.
    torch.manual_seed(_seed(run.seed, step, processes.index))
    for part in range(run.accumulate):
        batch = source.batch(step * run.accumulate + part, processes.index)
        found = parts.step.backward(batch)
        window = window.batch(found.parts, found.examples * processes.count)
        dropped += found.dropped
    processes.average(parts.named.values())
    _update(parts, config, step)
    return window, dropped


def _seed(*numbers: int) -> int:
    """One seed of several numbers, 63 bits."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _optimiser(config: TrainingConfig, named: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW; soft prompts learn faster, and neither they nor biases decay."""
    settings = config.optimiser
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in named.items():
        soft = name == "soft_prompts"
        rate = settings.learning_rate * (settings.soft_prompt_rate if soft else 1.0)
        decay = 0.0 if soft or value.dim() < 2 else settings.weight_decay
        groups.setdefault((rate, decay), []).append(value)
    made: Iterable[dict[str, Any]] = (
        {"params": values, "lr": rate, "full_rate": rate, "weight_decay": decay}
        for (rate, decay), values in groups.items()
    )
    return torch.optim.AdamW(list(made), betas=(0.9, 0.98))


def _update(parts: RunParts, config: TrainingConfig, step: int) -> None:
    """One step of the optimiser."""
    factor = rate_factor(step, config.run.steps, config.optimiser)
    for group in parts.optimiser.param_groups:
        group["lr"] = group["full_rate"] * factor
    if config.optimiser.clip:
        nn.utils.clip_grad_norm_(list(parts.named.values()), config.optimiser.clip)
    parts.optimiser.step()
    parts.optimiser.zero_grad(set_to_none=True)
