"""What the parts of pages have in common that are made from kept results."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

Tabulate: TypeAlias = Callable[[Sequence[str], Iterable[Sequence[str]]], str]
"""Makes a table of headings and lines."""
Ran: TypeAlias = Callable[[dict[str, Any]], str]
"""Says when and where something was measured, of its environment."""

_BEGIN, _END = "<!-- figures -->\n", "<!-- end of figures -->"


def with_figures(page: str, *figures: str) -> str:
    """A page with its parts that are made from results replaced, in their order."""
    head, *stale = page.split(_BEGIN)
    pairs = zip(figures, stale, strict=True)
    return head + "".join(f"{_BEGIN}{new}{_END}{old.partition(_END)[2]}" for new, old in pairs)
