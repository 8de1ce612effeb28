"""What a run reports: events, one JSON object a line, and a plot of the loss."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from instruct_embeddings._extras import require

LOG, PLOT = "log.jsonl", "loss.png"
SCORE = "score"


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


@dataclass(frozen=True)
class Window:
    """What happened since the last event."""

    batches: int = 0
    examples: int = 0
    seconds: float = 0.0  # time they took
    # Sums of the parts of their losses, by name.
    parts: dict[str, float] = field(default_factory=dict)

    def batch(self, parts: Mapping[str, float], examples: int) -> "Window":
        """With one more batch."""
        sums = {name: self.parts.get(name, 0.0) + value for name, value in parts.items()}
        return Window(self.batches + 1, self.examples + examples, self.seconds, self.parts | sums)

    def event(self, step: int, steps: int, measured: dict[str, float] | None = None) -> TrainEvent:
        """What there is to report after a step, with its measures where it was measured."""
        parts = {name: value / self.batches for name, value in self.parts.items()}
        speed = self.examples / self.seconds if self.seconds else 0.0
        return TrainEvent(step, steps, sum(parts.values()), parts, speed, measured)


class RunLog:
    """Appends events to `log.jsonl`."""

    def __init__(self, output: Path, *, resume_at: int) -> None:
        """Open the log of a run; lines after the step that is resumed from are dropped."""
        require("matplotlib", extra="train")
        self._file, self._plot = output / LOG, output / PLOT
        output.mkdir(parents=True, exist_ok=True)
        kept = [asdict(event) for event in self._events() if event.step <= resume_at]
        partial = output / f".{LOG}"
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self._file)

    def write(self, event: TrainEvent) -> None:
        """Add a line."""
        # Six digits of each number.
        rounded = json.loads(
            json.dumps(asdict(event)), parse_float=lambda digits: round(float(digits), 6)
        )
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")

    def plot(self) -> None:
        """Draw loss and validation over the steps into `loss.png`."""
        events = self._events()
        if not events:
            return
        # A figure of its own: pyplot keeps state of the whole process.
        figure = require("matplotlib.figure", extra="train").Figure(
            figsize=(8, 4), layout="constrained"
        )
        axes = figure.subplots()
        for name in events[-1].parts:
            own = [(event.step, event.parts[name]) for event in events if name in event.parts]
            axes.plot(*zip(*own, strict=True), label=name)
        axes.set(xlabel="step", ylabel="loss")
        measured = [(event.step, event.validation[SCORE]) for event in events if event.validation]
        if measured:
            right = axes.twinx()
            right.plot(*zip(*measured, strict=True), "k.--")
            right.set_ylabel("held-out score (dashed)")
        axes.legend()
        figure.savefig(self._plot, dpi=120)

    def _events(self) -> list[TrainEvent]:
        """The events up to a line that holds none, such as one that an interruption cut off."""
        found: list[TrainEvent] = []
        if self._file.is_file():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    found.append(TrainEvent(**json.loads(line)))
                except (TypeError, ValueError):
                    break
        return found
