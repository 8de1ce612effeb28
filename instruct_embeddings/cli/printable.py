"""Texts of a collection on a terminal: shown, never obeyed."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

# All control characters but tab and line feed: an escape begins what drives a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """A text with its control characters replaced."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True)
class Printable:
    """Something to print whose texts come from elsewhere.

    Attributes:
        content: A table, a text, or what else rich prints.
    """

    content: "RenderableType"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """The same, without control characters in its texts."""
        from rich.segment import Segment

        for segment in console.render(self.content, options):
            clean = segment.text if segment.control else printable(segment.text)
            yield Segment(clean, segment.style, segment.control)
