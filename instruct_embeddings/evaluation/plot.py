"""The picture of an evaluation: figures with their intervals, side by side."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from instruct_embeddings._extras import require
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.report import Evaluation
from instruct_embeddings.explain.map_fonts import Fonts, find_fonts, warn_of_missing
from instruct_embeddings.transform.significance import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150
_HEAD = 110  # letters in a line of the title
_INK, _PALE_INK, _FRAME = "#1F2328", "#59636E", "#D8DEE4"
# Told apart with any colour vision (Okabe and Ito): generic, adapted, all others.
_GENERIC, _ADAPTED, _OTHER = "#59636E", "#0072B2", "#E69F00"


def draw(evaluation: Evaluation, file: Path) -> Path:
    """Save the picture of an evaluation; see `Evaluation.plot`."""
    if file.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"A picture cannot be saved as {str(file)!r}: its name ends in {file.suffix!r}, and "
            f"{', '.join(_SUFFIXES)} are allowed. Use a name such as report.png."
        )
    figure = picture(evaluation)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)
    return file


def picture(evaluation: Evaluation) -> "Figure":
    """The picture as a figure of matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed (extra `eval`).
    """
    height = 2.2 + 0.45 * len(evaluation.methods)
    # A figure of its own: pyplot keeps state of the whole process.
    figure: Figure = require("matplotlib.figure", extra="eval").Figure(
        figsize=(10, height), facecolor="white", layout="constrained"
    )
    names = [one.method for one in evaluation.methods]
    fonts = find_fonts([evaluation.headline(), *names])
    warn_of_missing(fonts, "they are left out")
    with fonts.used():
        _fill(figure, evaluation, fonts)
    return figure


def _fill(figure: "Figure", evaluation: Evaluation, fonts: Fonts) -> None:
    lines = fonts.writable(evaluation.headline()).splitlines()
    head = "\n".join(fill(line, _HEAD) for line in lines)
    figure.suptitle(head, x=0.01, ha="left", color=_INK, fontsize=11, parse_math=False)
    left, right = figure.subplots(1, 2, sharey=True)
    names = [fonts.writable(one.method) for one in evaluation.methods]
    precision = [one.precision for one in evaluation.methods]
    v_measure = [one.v_measure for one in evaluation.methods]
    _panel(left, f"precision@{evaluation.k}", names, precision)
    _panel(right, "V-measure", names, v_measure)


def _panel(axes: "Axes", title: str, names: Sequence[str], figures: Sequence[Estimate]) -> None:
    colours = [_GENERIC, _ADAPTED, *[_OTHER] * len(names)]
    for place, (one, colour) in enumerate(zip(figures, colours, strict=False)):
        axes.plot([one.low, one.high], [place, place], color=colour, lw=2.5, solid_capstyle="round")
        axes.plot([one.value], [place], "o", color=colour, ms=8, mec="white")
        axes.annotate(
            f"{one.value:.3f}",
            (one.value, place),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=_INK,
            fontsize=10,
        )
    axes.set_title(title, loc="left", color=_PALE_INK, fontsize=10)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=_FRAME)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=_INK)
