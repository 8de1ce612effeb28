"""The table of `benchmarks.load`."""

from typing import Any

from rich.console import Console
from rich.table import Table

# Of the searches of the phase with a judge, so many ask it, and it takes so many seconds.
JUDGED_SHARE, JUDGE_SECONDS = 0.1, 0.3


def show(place: str, size: int, result: dict[str, Any]) -> None:
    """One table a place."""
    table = Table(
        title=f"{place}, {size:,} vectors, {result['callers']} asynchronous callers and "
        f"{result['threads']} threads"
    )
    for heading in ("phase", "instructions", "searches", "p50 ms", "p99 ms", "searches/s"):
        table.add_column(heading)
    table.add_column("longest stall of the event loop ms")
    table.add_column("of garbage collection ms")
    for phase in result["phases"]:
        whole = (phase["searches a second"], *stalls(phase))
        for kind, figures in sorted(phase["kinds"].items()):
            table.add_row(phase["phase"], kind, *map(str, (*figures.values(), *whole)))
            whole = ("",) * len(whole)  # once a phase
    Console(width=150).print(table)
    Console().print(
        f"{result['new instructions']} new instructions, fits of each: {result['fits of each']}; "
        f"wrong answers: {result['wrong answers']}"
    )


def stalls(phase: dict[str, Any]) -> tuple[Any, Any]:
    """The longest of the event loop, and the longest collection of garbage, in milliseconds."""
    garbage = phase.get("longest collection of garbage ms", "not measured")
    return phase["longest stall of the event loop ms"], garbage
