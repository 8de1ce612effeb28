"""The figure of an evaluation: estimates with their intervals, side by side."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from instruct_embeddings.evaluation.report import Evaluation
from instruct_embeddings.explain.figures import (
    FRAME,
    INK,
    PALE_INK,
    check_figure_file,
    find_fonts,
    new_figure,
    save_figure,
)
from instruct_embeddings.transform.significance import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAD = 110  # letters in a line of the title
# Told apart with any colour vision (Okabe and Ito): generic, adapted, all others.
_GENERIC, _ADAPTED, _OTHER = "#59636E", "#0072B2", "#E69F00"


def draw(evaluation: Evaluation, file: Path) -> Path:
    """Save the figure of an evaluation; see `Evaluation.plot`."""
    check_figure_file(file)
    return save_figure(picture(evaluation), file)


def picture(evaluation: Evaluation) -> "Figure":
    """The figure of matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed (extra `eval`).
    """
    figure = new_figure(10, 2.2 + 0.45 * len(evaluation.methods))
    names = [one.method for one in evaluation.methods]
    fonts = find_fonts([evaluation.headline(), *names])
    fonts.warn_of_missing("they are left out")
    with fonts.used():
        lines = fonts.writable(evaluation.headline()).splitlines()
        head = "\n".join(fill(line, _HEAD) for line in lines)
        figure.suptitle(head, x=0.01, ha="left", color=INK, fontsize=11, parse_math=False)
        left, right = figure.subplots(1, 2, sharey=True)
        names = [fonts.writable(name) for name in names]
        precision = [one.precision for one in evaluation.methods]
        _panel(left, f"precision@{evaluation.k}", names, precision)
        _panel(right, "V-measure", names, [one.v_measure for one in evaluation.methods])
    return figure


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
            color=INK,
            fontsize=10,
        )
    axes.set_title(title, loc="left", color=PALE_INK, fontsize=10)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=FRAME)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
