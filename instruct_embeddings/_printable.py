"""Texts from elsewhere on a terminal: shown, never obeyed."""

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

# Control characters but tab and line feed: an escape begins what drives a terminal. And what is
# not seen but changes how others are: marks, embeddings, overrides and isolates of direction,
# separators of lines, invisible operators, annotations, tags, halves of a character.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def printable(text: str) -> str:
    """A text in which what a terminal would obey is replaced."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


def printed(to_text: Callable[[T], str]) -> Callable[[T], str]:
    """For the `__str__` of what holds texts from elsewhere: `print` shows them and obeys none."""

    @functools.wraps(to_text)
    def shown(self: T) -> str:
        return printable(to_text(self))

    return shown


def escaped(document: str) -> str:
    """A JSON document with the same content in which nothing is left that a terminal would obey."""
    return _OBEYED.sub(lambda found: _json_escape(found[0]), document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def literal_console(**options: Any) -> "Console":
    """A console that shows texts as they are: no markup, no names of emoji, no highlighting."""
    from rich.console import Console

    return Console(**({"markup": False, "emoji": False, "highlight": False} | options))
