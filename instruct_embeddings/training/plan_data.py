"""What the sources of a run hold, and how often the run reads them."""

from dataclasses import dataclass

from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data import Group, ReadingReport, TrainingData


@dataclass(frozen=True)
class SourcePlan:
    """One file of a run.

    Attributes:
        name: Of the set.
        groups: What batches of one instruction are drawn from.
        rows: Examples to train on in all groups; a row with two labels counts in two.
        share: Chance that a batch is drawn from it; 0 where the whole set is held out.
        epochs: How often the run reads each of its examples, on average.
    """

    name: str
    groups: tuple[Group, ...]
    rows: int
    share: float
    epochs: float


@dataclass(frozen=True)
class DataPlan:
    """The data of a run.

    Attributes:
        sources: The files.
        held_out: Examples of each validation task, by name.
        reading: Rows read and bad lines.
    """

    sources: tuple[SourcePlan, ...]
    held_out: dict[str, int]
    reading: ReadingReport


def plan_data(config: TrainingConfig, data: TrainingData, examples: int) -> DataPlan:
    """Count what opened data holds.

    Args:
        config: Sources and what is held out.
        data: Its sources, opened.
        examples: Examples that the run draws.
    """
    return DataPlan(
        tuple(_source(source.name, data, examples) for source in config.data.sources),
        {task.name: len(task.examples) for task in data.validation},
        data.report,
    )


def _source(name: str, data: TrainingData, examples: int) -> SourcePlan:
    groups = tuple(group for group in data.groups if group.source == name)
    rows = sum(group.rows for group in groups)
    share = sum(group.probability for group in groups)
    return SourcePlan(name, groups, rows, share, examples * share / rows if rows else 0.0)
