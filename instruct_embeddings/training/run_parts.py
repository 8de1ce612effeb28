"""What a run works with, and one step of it."""

from dataclasses import dataclass

import torch
from torch import nn

from instruct_embeddings.training.batch_step import BatchStep
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data import BatchSource
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.optimiser import make_optimiser, seed_of, update
from instruct_embeddings.training.processes import Processes
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
    torch.manual_seed(seed_of(run.seed, step, processes.index))
    for part in range(run.accumulate):
        batch = source.batch(step * run.accumulate + part, processes.index)
        found = parts.step.backward(batch)
        window = window.batch(found.parts, found.examples * processes.count)
        dropped += found.dropped
    processes.average(parts.named.values())
    update(parts.optimiser, parts.named, config.optimiser, step, run.steps)
    return window, dropped


def _optimiser(config: TrainingConfig, named: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW; soft prompts learn faster, and neither they nor biases decay."""
    settings = config.optimiser

    def own(name: str, value: nn.Parameter) -> tuple[float, float]:
        soft = name == "soft_prompts"
        rate = settings.learning_rate * (settings.soft_prompt_rate if soft else 1.0)
        return rate, 0.0 if soft or value.dim() < 2 else settings.weight_decay

    return make_optimiser(named, own)
