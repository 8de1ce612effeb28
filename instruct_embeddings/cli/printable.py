"""What is printed of a collection: its texts are shown, never obeyed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from instruct_embeddings._printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


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
