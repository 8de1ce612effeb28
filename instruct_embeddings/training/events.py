"""What training reports while it runs, and what it leaves."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainEvent:
    """The state of a run after a step.

    Attributes:
        step: Steps done so far.
        steps: Steps of the whole run.
        loss: The loss, averaged since the last event.
        parts: Its parts by name, averaged alike.
        examples_per_second: Measured since the last event.
        validation: Measures by name, where this step was measured.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    examples_per_second: float
    validation: dict[str, float] | None = None


@dataclass(frozen=True)
class TrainResult:
    """The end of a run.

    Attributes:
        folder: The checkpoint.
        steps: Steps done.
        best: The best validation measure, where anything was held out.
        stopped_early: Whether validation gained nothing for too long.
        seconds: Time taken.
    """

    folder: Path
    steps: int
    best: float | None
    stopped_early: bool
    seconds: float
