"""The tables of `benchmarks.scale`."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(results: dict[str, Any]) -> None:
    """Indexing, then searching."""
    console = Console(width=140)
    indexing = results["indexing"]
    table = Table(title=f"`index` of {results['size']:,} rows, killed and started again")
    for heading in indexing["runs"][0]:
        table.add_column(heading, justify="right")
    for run in indexing["runs"]:
        table.add_row(
            *(f"{value:,}" if type(value) is int else str(value) for value in run.values())
        )
    console.print(table)
    console.print({name: value for name, value in indexing.items() if name != "runs"})
    for kind, figures in results.get("searching", {}).items():
        console.print(f"{kind}:", figures)
