"""A dry run: what training would do, and what it would take."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from instruct_embeddings.config import at_least
from instruct_embeddings.training.batch_step import BatchStep
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.batches import Group
from instruct_embeddings.training.data.files import ReadingReport
from instruct_embeddings.training.data.opening import TrainingData, open_data
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.optimiser import Processes
from instruct_embeddings.training.plan_model import ParameterCounts, PlannedModel, plan_model
from instruct_embeddings.training.student import make_student
from instruct_embeddings.training.trainer import take_step

_FLOAT32, _HALF = 4, 2
_ADAM_STATES = 2


@dataclass(frozen=True)
class MemoryLine:
    """One part of the estimate."""

    name: str  # what takes the memory
    bytes: int
    how: str  # where the number comes from


@dataclass(frozen=True)
class SourcePlan:
    """One file of a run."""

    name: str
    groups: tuple[Group, ...]  # what batches of one instruction are drawn from
    rows: int  # examples to train on in all groups; a row with two labels counts in two
    share: float  # chance that a batch is drawn from it; 0 where the whole set is held out
    epochs: float  # how often the run reads each of its examples, on average


@dataclass(frozen=True)
class DataPlan:
    """The data of a run."""

    sources: tuple[SourcePlan, ...]
    held_out: dict[str, int]  # examples of each validation task, by name
    reading: ReadingReport  # rows read and bad lines


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        base_model: Backbone.
        found: Where its configuration was found.
        dimension: Length of an embedding.
        parameters: How many parameters there are.
        memory: The estimate for the device, by what takes it. The runtime itself (about half a
            gigabyte for CUDA) and gaps between allocations come on top.
        data: The sources, what is held out, bad lines.
        steps: Steps of the optimiser.
        examples: Examples that they draw.
        checkpoint_bytes: Size of a checkpoint on disk.
        state_bytes: Size of the state from which a run goes on.
        digest: Of the configuration.
        output: Folder of the run.
        measured_steps: How many steps were taken to measure speed; 0 where that was not asked for.
        examples_per_second: Measured on them, of all processes.
        hours: What the run would take at that speed; measuring what is held out is not counted.
        peak_bytes: Most memory of a CUDA device that was allocated in these steps.
    """

    base_model: str
    found: str
    dimension: int
    parameters: ParameterCounts
    memory: tuple[MemoryLine, ...]
    data: DataPlan
    steps: int
    examples: int
    checkpoint_bytes: int
    state_bytes: int
    digest: str
    output: str
    measured_steps: int = 0
    examples_per_second: float | None = None
    hours: float | None = None
    peak_bytes: int | None = None

    @property
    def memory_bytes(self) -> int:
        """The whole estimate."""
        return sum(line.bytes for line in self.memory)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self) | {"memory_bytes": self.memory_bytes}


def plan_training(config: TrainingConfig, *, measure: int = 0) -> Plan:
    """Read the sources and count, without loading weights unless steps are measured.

    Args:
        config: The whole run.
        measure: Steps to take, of which nothing is kept, to measure speed and memory; 0 takes none.

    Raises:
        DataError: A file is missing, or a line is bad where reading is strict.
        ModelNotFoundError: The base model's configuration is not in reach; where steps are
            measured, its weights.
        ConfigError: Settings that do not fit the model or the data.
        MissingExtraError: Steps are measured, and accelerate is not installed.
    """
    at_least("measure", measure, 0, optional=False)
    model = plan_model(config)
    counts = model.counts
    examples = config.run.steps * config.run.accumulate * config.data.batch_size
    # Where the backbone itself is trained, a checkpoint holds all of it.
    saved = counts.lora + counts.own
    if config.backbone.train == "full":
        saved += counts.frozen + counts.backbone
    with open_data(config.data, config.validation, seed=config.run.seed) as data:
        plan = Plan(
            base_model=config.model.base_model,
            found=model.found,
            dimension=model.dimension,
            parameters=counts,
            memory=estimate_memory(config, model),
            data=_plan_data(config, data, examples),
            steps=config.run.steps,
            examples=examples,
            checkpoint_bytes=_FLOAT32 * saved,
            state_bytes=(1 + _ADAM_STATES) * _FLOAT32 * counts.trained,
            digest=config.digest,
            output=str(config.run.output),
        )
        return measure_steps(config, data, plan, measure) if measure else plan


def estimate_memory(config: TrainingConfig, model: PlannedModel) -> tuple[MemoryLine, ...]:
    """Memory of the device in bytes, by what takes it; lines of 0 bytes are left out."""
    counts, run = model.counts, config.run
    width = _HALF if model.half_weights else _FLOAT32
    # Mixed precision keeps a half copy of float32 weights until the backward pass has read it.
    casts = run.precision == "bfloat16" and not model.half_weights
    cast = counts.frozen + counts.backbone - counts.embeddings if casts else 0
    rows = f"{run.chunk or config.data.batch_size:,} rows x {config.model.max_tokens:,} tokens"
    kept = "kept for the backward pass"
    if model.activations is None:
        kept = "not counted: the model does not run without weights. Measure a step instead"
    lines = [
        _parameters("frozen weights", counts.frozen, width),
        _parameters("trained weights", counts.trained, _FLOAT32),
        _parameters("gradients", counts.trained, _FLOAT32),
        _parameters("Adam's two means", counts.trained, _ADAM_STATES * _FLOAT32),
        _parameters("frozen teacher", counts.teacher, width),
        _parameters("weights cast to bfloat16", cast, _HALF),
        MemoryLine("activations", model.activations or 0, f"{rows}, {kept}"),
        MemoryLine("one layer, computed again", model.recomputed, rows),
    ]
    return tuple(line for line in lines if line.bytes or line.name == "activations")


def measure_steps(config: TrainingConfig, data: TrainingData, plan: Plan, steps: int) -> Plan:
    """Take the first steps of a run and forget them; no file is written.

    One more step goes before and is not timed: the first of a process is slow.
    """
    processes = Processes(config.run.device)
    seed, device = config.run.seed, processes.device
    own = BatchStep(config, make_student(config.model, config.backbone, device=device, seed=seed))
    window, started = Window(), 0.0
    for number in range(steps + 1):
        # A schedule knows the steps of its run only.
        step = number % config.run.steps
        window, _ = take_step(config, own, data.source, processes, step, window)
        # Until the device has computed what it was given.
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        elif device.startswith("mps"):
            torch.mps.synchronize()
        if number == 0:
            window, started = Window(), time.perf_counter()
    seconds = time.perf_counter() - started
    on_cuda = device.startswith("cuda")
    return replace(
        plan,
        measured_steps=steps,
        examples_per_second=window.examples / seconds,
        hours=config.run.steps * seconds / steps / 3600,
        peak_bytes=torch.cuda.max_memory_allocated(device) if on_cuda else None,
    )


def _plan_data(config: TrainingConfig, data: TrainingData, examples: int) -> DataPlan:
    sources = []
    for source in config.data.sources:
        groups = tuple(group for group in data.groups if group.source == source.name)
        rows = sum(group.rows for group in groups)
        share = sum(group.probability for group in groups)
        epochs = examples * share / rows if rows else 0.0
        sources.append(SourcePlan(source.name, groups, rows, share, epochs))
    held_out = {task.name: len(task.examples) for task in data.validation}
    return DataPlan(tuple(sources), held_out, data.report)


def _parameters(name: str, count: int, width: int) -> MemoryLine:
    return MemoryLine(name, count * width, f"{count:,} parameters x {width} bytes")
