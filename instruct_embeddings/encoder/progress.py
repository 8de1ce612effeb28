"""A progress bar on request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int], None]


@contextmanager
def progress(total: int, show: bool, on_batch: Report | None) -> Iterator[Report]:
    """Something to call with the number of texts that were done.

    Args:
        total: Number of texts.
        show: Draw a bar on stderr. Never for a single text.
        on_batch: Called in addition.
    """
    if not show or total < 2:
        yield on_batch or _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    # Redirection would send what the program prints meanwhile to stderr.
    with Progress(
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("Embedding", total=total)

        def report(done: int) -> None:
            bar.advance(task, done)
            if on_batch is not None:
                on_batch(done)

        yield report


def _nothing(done: int) -> None:
    """Nobody asked."""
