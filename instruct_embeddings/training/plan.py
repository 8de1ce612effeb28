"""A dry run: what training would do, and what it would take."""

from dataclasses import asdict, dataclass
from typing import Any

from instruct_embeddings.config import at_least
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data import TrainingData, open_data
from instruct_embeddings.training.plan_data import DataPlan, plan_data
from instruct_embeddings.training.plan_memory import (
    MemoryLine,
    ParameterCounts,
    estimate_memory,
)
from instruct_embeddings.training.plan_model import plan_model

_FLOAT32 = 4
_ADAM = 8


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        base_model: Backbone.
        found: Where its configuration was found.
        dimension: Length of an embedding.
        parameters: How many parameters there are.
        memory: The estimate for the device, by what takes it; see `plan_memory`.
        data: The sources, what is held out, bad lines.
        steps: Steps of the optimiser.
        examples: Examples that they draw.
        checkpoint_bytes: Size of a checkpoint on disk.
        state_bytes: Size of the state from which a run goes on.
        digest: Of the configuration.
        output: Folder of the run.
        measured_steps: How many steps were taken to measure speed; 0 where that was not asked for.
        examples_per_second: Measured on them.
        hours: What the run would take at that speed; measuring what is held out is not counted.
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

    @property
    def memory_bytes(self) -> int:
        """The whole estimate."""
        return sum(line.bytes for line in self.memory)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self) | {"memory_bytes": self.memory_bytes}


def plan_training(config: TrainingConfig, *, measure: int = 0) -> Plan:
    """Read the sources and count, without loading weights unless speed is measured.

    Args:
        config: The whole run.
        measure: Steps to take, of which nothing is kept, to measure the speed; 0 takes none.

    Raises:
        DataError: A file is missing, or a line is bad where reading is strict.
        ModelNotFoundError: The base model's configuration is not in reach; where speed is measured,
            its weights.
        ConfigError: Settings that do not fit the model or the data.
        MissingExtraError: Speed is measured, and accelerate is not installed.
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
        described = plan_data(config, data, examples)
        speed = _measured(config, data, measure)
    return Plan(
        base_model=config.model.base_model,
        found=model.found,
        dimension=model.dimension,
        parameters=counts,
        memory=estimate_memory(config, model.shape, counts, half_weights=model.half_weights),
        data=described,
        steps=config.run.steps,
        examples=examples,
        checkpoint_bytes=_FLOAT32 * saved,
        state_bytes=(_FLOAT32 + _ADAM) * counts.trained,
        digest=config.digest,
        output=str(config.run.output),
        **speed,
    )


def _measured(config: TrainingConfig, data: TrainingData, steps: int) -> dict[str, Any]:
    if not steps:
        return {}
    # What trains is loaded only where something is trained.
    from instruct_embeddings.training.speed import measure_speed

    found = measure_speed(config, data, steps)
    return {
        "measured_steps": found.steps,
        "examples_per_second": found.examples_per_second,
        "hours": found.hours,
    }
