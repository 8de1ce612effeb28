"""How a fit goes on, for a callback and for the log."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FitStage: TypeAlias = Literal["sampling", "judging", "fitting", "done", "failed"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitEvent:
    """One step of a fit.

    Attributes:
        instruction: The instruction that is fitted.
        stage: "sampling" when the sample is read; "judging" each time the guide has judged some of
            it; "fitting" after each penalty that was tried; at last "done" or "failed".
        done: Rows read or judged, or penalties tried.
        total: The most there may be of them: a guide that encodes stops where more rows do not pay.
        seconds: Since the fit began.
    """

    instruction: str
    stage: FitStage
    done: int
    total: int
    seconds: float


OnFit: TypeAlias = Callable[[FitEvent], None]
"""Is called in the thread that fits; what it raises ends the fit."""


@dataclass(frozen=True)
class Progress:
    """Tells how the fits of some instructions go on; they share sampling and judging.

    Attributes:
        instructions: What is fitted.
        on_fit: Is called at each step.
        started: `time.perf_counter()` when it began.
    """

    instructions: Sequence[str]
    on_fit: OnFit | None = None
    started: float = field(default_factory=time.perf_counter)

    def of(self, instruction: str) -> "Progress":
        """The same for one of the instructions."""
        return Progress([instruction], self.on_fit, self.started)

    def sampled(self, rows: int) -> None:
        """A sample of so many rows was read."""
        self._tell("sampling", rows, rows, "%s: %d rows sampled in %.1f s")

    def judged(self, rows: int, most: int) -> None:
        """So many of at most so many rows were judged by the guide."""
        self._tell("judging", rows, most, "%s: %d rows judged after %.1f s")

    def fitting(self, tried: int, most: int) -> None:
        """So many of at most so many penalties were tried; `transform.fit` logs the settings."""
        self._tell("fitting", tried, most)

    def ended(self, *, well: bool) -> None:
        """The fit is over."""
        self._tell("done" if well else "failed", int(well), 1)

    def _tell(self, stage: FitStage, done: int, total: int, line: str | None = None) -> None:
        seconds = time.perf_counter() - self.started
        if line is not None:
            _log.info(line, "; ".join(self.instructions), done, seconds)
        if self.on_fit is not None:
            for text in self.instructions:
                self.on_fit(FitEvent(text, stage, done, total, seconds))
