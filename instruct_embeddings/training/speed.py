"""How long a run would take: some of its steps, of which nothing is kept."""

import time
from dataclasses import dataclass

import torch

from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data import TrainingData
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.processes import Processes
from instruct_embeddings.training.run_parts import make_parts, take_step


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        steps: On how many steps.
        examples_per_second: Examples in them, of all processes, by their time.
        hours: What all steps of the run would take; measuring what is held out is not counted.
    """

    steps: int
    examples_per_second: float
    hours: float


def measure_speed(config: TrainingConfig, data: TrainingData, steps: int) -> Speed:
    """Take the first steps of a run, and forget them; no file is written.

    One more step goes before and is not timed: the first of a process is slow.

    Args:
        config: The whole run.
        data: Where its batches are drawn.
        steps: How many are timed, at least 1.

    Raises:
        ConfigError: Settings do not fit the model; the loss is no finite number.
        DataError: A file changed; no text of a batch fits into its rows.
        ModelNotFoundError, CheckpointError: The weights of a model are not in reach.
        MissingExtraError: accelerate or peft is not installed.
    """
    processes = Processes(config.run.device)
    parts = make_parts(config, processes.device)
    window, started = Window(), 0.0
    for number in range(steps + 1):
        # A schedule knows the steps of its run only.
        step = number % config.run.steps
        window, _ = take_step(config, parts, data.source, processes, step, window)
        _wait(processes.device)
        if number == 0:
            window, started = Window(), time.perf_counter()
    seconds = time.perf_counter() - started
    hours = config.run.steps * seconds / steps / 3600
    return Speed(steps, window.examples / seconds, hours)


def _wait(device: str) -> None:
    """Until the device has computed what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
