"""What figures of matplotlib share: file formats, colours, and fonts for every letter."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._extras import require
from instruct_embeddings._printable import printable
from instruct_embeddings._warnings import warn
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PALE_INK, FRAME = "#1F2328", "#59636E", "#D8DEE4"
_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150
_SHOWN = 12  # letters in a warning


def check_figure_file(file: Path) -> None:
    """Refuse a file name that does not end in .png, .svg or .pdf."""
    if file.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"A figure cannot be saved as {str(file)!r}: its name ends in {file.suffix!r}, and "
            f"{', '.join(_SUFFIXES)} are allowed. Use a name such as map.png."
        )


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure that lays itself out; sizes in inches."""
    # A figure of its own: pyplot keeps state of the whole process.
    figure: Figure = require("matplotlib.figure", extra="eval").Figure(
        figsize=(width, height), facecolor="white", layout="constrained"
    )
    return figure


def save_figure(figure: "Figure", file: Path) -> Path:
    """Save a figure; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)
    return file


@dataclass(frozen=True)
class Fonts:
    """What the texts of a figure can be written with."""

    families: tuple[str, ...]  # which together have the letters; the usual one first
    missing: frozenset[str]  # letters that no installed font has

    def writes(self, text: str) -> bool:
        """Whether each letter of a text can be drawn."""
        return self.missing.isdisjoint(text)

    def writable(self, text: str) -> str:
        """A text with an ellipsis for each run of letters that cannot be drawn."""
        found = ["…" if letter in self.missing else letter for letter in printable(text)]
        return "".join(x for i, x in enumerate(found) if x != "…" or found[i - 1 : i] != ["…"])

    def warn_of_missing(self, instead: str) -> None:
        """Say which letters no font has, what is drawn instead, and what helps."""
        if self.missing:
            some = "".join(sorted(self.missing)[:_SHOWN])
            more = "…" if len(self.missing) > _SHOWN else ""
            warn(
                f"No installed font has {len(self.missing)} letters of this figure, such as "
                f"{some!r}{more}; {instead}. Install a font that has them, such as Noto Sans CJK "
                "for Chinese, Japanese and Korean, and draw again."
            )

    @contextmanager
    def used(self) -> Iterator[None]:
        """Draw with them."""
        with require("matplotlib", extra="eval").rc_context({"font.family": list(self.families)}):
            yield


def find_fonts(texts: Iterable[str]) -> Fonts:
    """The usual fonts, and installed ones that have letters which those lack.

    matplotlib draws a letter that its font lacks as a box, and falls back to no other by itself.
    """
    manager = require("matplotlib.font_manager", extra="eval")
    usual = tuple(require("matplotlib", extra="eval").rcParams["font.family"])
    letters = {letter for text in texts for letter in printable(text) if not letter.isspace()}
    missing = set(map(ord, letters))
    for name in usual:
        missing -= _code_points(manager.findfont(manager.FontProperties(family=[name])))
    known = _installed(manager) if missing else {}
    added: list[str] = []
    while missing and known:
        best = max(known, key=lambda name: len(missing & _code_points(known[name])))
        if not missing & _code_points(known[best]):
            break
        added.append(best)
        missing -= _code_points(known[best])
    return Fonts((*usual, *added), frozenset(map(chr, missing)))


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


@lru_cache(maxsize=512)
def _code_points(file: str) -> frozenset[int]:
    """Those that a font file has; none where it cannot be read or drawn from."""
    manager = require("matplotlib.font_manager", extra="eval")
    try:
        return frozenset(manager.get_font(file).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
