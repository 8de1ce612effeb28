"""Results as tables for a reader."""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from instruct_embeddings._printable import literal_console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_WIDTH = 120


def new_table(title: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> "Table":
    """A table of rich: the first column holds names, the others figures."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def as_text(part: "RenderableType", width: int = _WIDTH) -> str:
    """A part as plain text, `width` characters wide."""
    page = StringIO()
    # In a notebook rich would display the pieces instead of writing them.
    console = literal_console(file=page, width=width, color_system=None, force_jupyter=False)
    console.print(part)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
