"""What figures of matplotlib share: file formats, colours, and fonts for every letter."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

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

    families: list[str]  # which together have the letters; the usual one first
    missing: frozenset[str]  # letters that no installed font has

    def writes(self, text: str) -> bool:
        """Whether each letter of a text can be drawn."""
        return self.missing.isdisjoint(text)

    def writable(self, text: str) -> str:
        """A text with an ellipsis for each run of letters that cannot be drawn."""
        runs = groupby(printable(text), key=lambda letter: letter in self.missing)
        return "".join("…" if missing else "".join(letters) for missing, letters in runs)

    def warn_of_missing(self, instead: str) -> None:
        """Say which letters no font has, what is drawn instead, and what helps."""
        if self.missing:
            warn(
                f"No installed font has {len(self.missing)} letters of this figure, such as "
                f"{''.join(sorted(self.missing)[:_SHOWN])!r}; {instead}. Install a font that has "
                "them, such as Noto Sans CJK for Chinese, Japanese and Korean, and draw again."
            )

    def used(self) -> AbstractContextManager[None]:
        """Draw with them."""
        matplotlib = require("matplotlib", extra="eval")
        found: AbstractContextManager[None] = matplotlib.rc_context({"font.family": self.families})
        return found


def find_fonts(texts: Iterable[str]) -> Fonts:
    """The usual fonts, and installed ones that have letters which those lack.

    matplotlib draws a letter that its font lacks as a box, and falls back to no other by itself.
    """
    manager = require("matplotlib.font_manager", extra="eval")
    families = list(require("matplotlib", extra="eval").rcParams["font.family"])
    missing = {ord(letter) for text in texts for letter in printable(text) if not letter.isspace()}
    for name in families:
        missing -= _code_points(manager.findfont(manager.FontProperties(family=[name])))
    files: dict[str, str] = {}  # of each family one
    faces = [face for face in manager.fontManager.ttflist if missing and face.style == "normal"]
    # Sans serif first, as it is taken where several are as good.
    for face in sorted(
        faces, key=lambda one: ("Sans" not in one.name, one.weight != 400, one.name)
    ):
        files.setdefault(face.name, face.fname)
    while missing and files:
        best = max(files, key=lambda name: len(missing & _code_points(files[name])))
        if not missing & _code_points(files[best]):
            break
        families.append(best)
        missing -= _code_points(files[best])
    return Fonts(families, frozenset(map(chr, missing)))


@lru_cache(maxsize=512)
def _code_points(file: str) -> frozenset[int]:
    """Those that a font file has; none where it cannot be read or drawn from."""
    if "LastResort" in file:  # has a box for every letter
        return frozenset()
    manager = require("matplotlib.font_manager", extra="eval")
    try:
        return frozenset(manager.get_font(file).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
