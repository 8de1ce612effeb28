"""A dry run: what training would do, and what it would take."""

from dataclasses import asdict, dataclass
from typing import Any

from instruct_embeddings.training.config import TrainingConfig
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
        examples_per_second: Measured on a few steps, where asked for.
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
    examples_per_second: float | None = None

    @property
    def memory_bytes(self) -> int:
        """The whole estimate."""
        return sum(line.bytes for line in self.memory)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self) | {"memory_bytes": self.memory_bytes}


def plan_training(config: TrainingConfig) -> Plan:
    """Read the sources and count, without loading weights.

    Raises:
        DataError: A file is missing, or a line is bad where reading is strict.
        ModelNotFoundError: The base model's configuration is not in reach.
        ConfigError: Settings that do not fit the model or the data.
    """
    model = plan_model(config)
    counts = model.counts
    examples = config.run.steps * config.run.accumulate * config.data.batch_size
    # Where the backbone itself is trained, a checkpoint holds all of it.
    saved = counts.lora + counts.own
    if config.backbone.train == "full":
        saved += counts.frozen + counts.backbone
    return Plan(
        base_model=config.model.base_model,
        found=model.found,
        dimension=model.dimension,
        parameters=counts,
        memory=estimate_memory(config, model.shape, counts, half_weights=model.half_weights),
        data=plan_data(config, examples),
        steps=config.run.steps,
        examples=examples,
        checkpoint_bytes=_FLOAT32 * saved,
        state_bytes=(_FLOAT32 + _ADAM) * counts.trained,
        digest=config.digest,
        output=str(config.run.output),
    )
