"""What the user sees: results on stdout, messages, progress and errors on stderr."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from instruct_embeddings._printable import escaped, literal_console, printable
from instruct_embeddings.errors import InstructEmbeddingsError, TransformWarning

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.progress import Progress, TaskID

    from instruct_embeddings.retrieval.fitting import FitEvent, OnFit
    from instruct_embeddings.retrieval.ranking import Hit

_WIDTH_WITHOUT_TERMINAL = 120
_WIDEST = 140
_STEPS = {"judging": "Rows judged", "fitting": "Penalties tried"}


@contextmanager
def reported(*, debug: bool = False) -> Iterator[None]:
    """Turn the expected errors of a command into one message on stderr and exit code 1."""
    try:
        with warnings.catch_warnings():
            # The commands print the report, which says the same.
            warnings.simplefilter("ignore", TransformWarning)
            # Others are for the reader; lines of code are not.
            warnings.showwarning = lambda message, *_, **__: note(f"Warning: {message}")
            yield
    except (InstructEmbeddingsError, OSError) as exc:
        if debug:
            raise
        _console(stderr=True).print(printable(f"Error: {exc}"), style="red")
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        note("Interrupted. What was stored so far is kept.")
        raise typer.Exit(130) from None


def note(message: str) -> None:
    """Print a message for the reader, on stderr."""
    _console(stderr=True).print(printable(message), style="dim")


def finish(document: Mapping[str, Any], *parts: "RenderableType", as_json: bool) -> None:
    """Print a result on stdout: the document as JSON, or its parts for a reader."""
    if as_json:
        typer.echo(escaped(json.dumps(document, ensure_ascii=False, indent=2)))
        return
    from rich.text import Text

    console = _console()
    for part in parts:
        # Lines to be copied, and all sentences in a file or a pipe, are not broken.
        whole = isinstance(part, Text) or (isinstance(part, str) and not console.is_terminal)
        shown = printable(part) if isinstance(part, str) else Printable(part)
        console.print(shown, soft_wrap=whole)


@dataclass(frozen=True)
class Printable:
    """Something to print whose texts come from elsewhere: they are shown, never obeyed."""

    content: "RenderableType"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """The same, without control characters in its texts."""
        from rich.segment import Segment

        for segment in console.render(self.content, options):
            clean = segment.text if segment.control else printable(segment.text)
            yield Segment(clean, segment.style, segment.control)


def hit_dict(hit: "Hit") -> dict[str, Any]:
    """A hit as plain data."""
    return {
        "id": hit.id,
        "score": round(float(hit.score), 6),
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "adapted": hit.adapted,
    }


def program_name() -> str:
    """How this user calls the command: by its name where it is on the path."""
    name = "instruct-embeddings"
    called = Path(sys.argv[0])
    if shutil.which(name) or called.name != name:
        return name
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr; the block is given a function that advances it."""
    with _bars() as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.advance(task, done)


@contextmanager
def fitting() -> Iterator["OnFit"]:
    """Show how a fit goes on, on stderr; the block is given what is called at its steps."""
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(event: "FitEvent") -> None:
            if event.stage in _STEPS:
                if event.stage not in tasks:
                    tasks[event.stage] = bars.add_task(_STEPS[event.stage], total=event.total)
                bars.update(tasks[event.stage], completed=event.done, total=event.total)
            # What is over stopped where it paid no longer.
            for stage, task in tasks.items():
                if stage != event.stage:
                    bars.update(task, total=bars.tasks[task].completed)

        yield show


def _bars() -> "Progress":
    from rich import progress as bars

    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        console=_console(stderr=True),
    )


def _console(*, stderr: bool = False) -> "Console":
    console = literal_console(stderr=stderr, soft_wrap=stderr)
    console.width = min(console.width, _WIDEST) if console.is_terminal else _WIDTH_WITHOUT_TERMINAL
    return console
