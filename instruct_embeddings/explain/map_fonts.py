"""Fonts for the letters of a picture: those that are installed, and which letters none has."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._printable import printable
from instruct_embeddings._warnings import warn

_SHOWN = 12


@dataclass(frozen=True)
class Fonts:
    """What the texts of a picture can be written with.

    Attributes:
        families: Families that together have the letters; the usual one first.
        missing: Letters that no installed font has.
    """

    families: tuple[str, ...]
    missing: frozenset[str]

    def writes(self, text: str) -> bool:
        """Whether each letter of a text can be drawn."""
        return self.missing.isdisjoint(text)

    def writable(self, text: str) -> str:
        """A text in which letters that cannot be drawn are left out, with a mark for each run."""
        found = ["…" if letter in self.missing else letter for letter in printable(text)]
        return "".join(x for i, x in enumerate(found) if x != "…" or found[i - 1 : i] != ["…"])

    @contextmanager
    def used(self) -> Iterator[None]:
        """Draw with them."""
        with require("matplotlib", extra="eval").rc_context({"font.family": list(self.families)}):
            yield


def find_fonts(texts: Iterable[str]) -> Fonts:
    """Fonts for some texts: to the usual one those are added that have letters which it lacks.

    matplotlib draws a letter that its font lacks as a box, and looks into no other by itself.
    """
    letters = {letter for text in texts for letter in printable(text) if not letter.isspace()}
    manager = require("matplotlib.font_manager", extra="eval")
    usual = tuple(require("matplotlib", extra="eval").rcParams["font.family"])
    files = {manager.findfont(manager.FontProperties(family=[name])) for name in usual}
    missing = {x for x in letters if not any(ord(x) in _letters(file) for file in files)}
    known = _installed(manager) if missing else {}
    added: list[str] = []
    while missing and known:
        best = max(known, key=lambda name: _covered(missing, known[name]))
        left = {letter for letter in missing if ord(letter) not in _letters(known[best])}
        if left == missing:
            break
        added, missing = [*added, best], left
    return Fonts((*usual, *added), frozenset(missing))


def warn_of_missing(fonts: Fonts, instead: str) -> None:
    """Say which letters no font has, what is drawn instead, and what helps."""
    if fonts.missing:
        some = "".join(sorted(fonts.missing)[:_SHOWN])
        more = "…" if len(fonts.missing) > _SHOWN else ""
        warn(
            f"No installed font has {len(fonts.missing)} letters of this picture, such as "
            f"{some!r}{more}; {instead}. Install a font that has them, such as Noto Sans CJK for "
            "Chinese, Japanese and Korean, and draw again."
        )


def _installed(manager: Any) -> dict[str, str]:
    """A file of each family; sans serif first, as it is taken where several are as good."""
    # Fonts of last resort have a box for every letter.
    faces = [
        font
        for font in manager.fontManager.ttflist
        if font.style == "normal" and not font.name.startswith("Last Resort")
    ]
    faces.sort(key=lambda font: ("Sans" not in font.name, font.weight != 400, font.name))
    files: dict[str, str] = {}
    for font in faces:
        files.setdefault(font.name, font.fname)
    return files


def _covered(letters: Iterable[str], file: str) -> int:
    have = _letters(file)
    return sum(ord(letter) in have for letter in letters)


@lru_cache(maxsize=512)
def _letters(file: str) -> frozenset[int]:
    """Code points that a font file has; none where it cannot be read or drawn from."""
    manager = require("matplotlib.font_manager", extra="eval")
    try:
        return frozenset(manager.get_font(file).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
