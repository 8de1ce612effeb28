"""The picture of an explanation: one sample, as it is stored and under the instruction."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._printable import printable
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.explain.layout import map_points
from instruct_embeddings.explain.map_fonts import Fonts, find_fonts, warn_of_missing
from instruct_embeddings.explain.map_labels import name_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_SIZE = (13.333, 7.5)  # a slide
_LEFT = (0.030, 0.515)  # of the two panels
_HEADS = ("As stored", "Under the instruction")
_DPI = 150
# Told apart with any colour vision: six of Okabe and Ito's, or Tol's muted nine.
_FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_MANY = (
    "#332288",
    "#DDCC77",
    "#117733",
    "#CC6677",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)
_REST = "#C8C8C8"
_INK, _PALE_INK, _FRAME, _PAPER = "#1F2328", "#59636E", "#D8DEE4", "#FBFBFC"
_NAME = 30
_LEGEND = 160  # letters in a line of the legend


def draw(explanation: Explanation, file: Path) -> Path:
    """Save the map of an explanation.

    Args:
        explanation: The explanation.
        file: A name that ends in .png, .svg or .pdf; its folder is made.

    Returns:
        The file.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed (extra `eval`).
        ConfigError: The name ends in something else.
    """
    check_picture(file)
    figure = picture(explanation)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)
    return file


def picture(explanation: Explanation) -> "Figure":
    """The map as a figure of matplotlib.

    Letters that the usual font lacks are written with another that is installed. Where none has
    them, a category has its number in place of its name, with a warning.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed (extra `eval`).
    """
    explanation.fitted_part()  # refuses what has no map, before anything is drawn
    # A figure of its own: pyplot keeps state of the whole process.
    figure: Figure = require("matplotlib.figure", extra="eval").Figure(
        figsize=_SIZE, facecolor="white"
    )
    names = [category.name for category in explanation.categories]
    fonts = find_fonts([explanation.instruction, explanation.query, *names])
    warn_of_missing(fonts, "categories have numbers, in the order of the table that `print` shows")
    drawn = _writable(explanation, fonts)
    with fonts.used():
        _draw_panels(figure, drawn)
        _write_texts(figure, drawn)
        _legend(figure, drawn)
    return figure


def _writable(explanation: Explanation, fonts: Fonts) -> Explanation:
    """The explanation in letters that can be drawn."""
    names = {
        one.name: printable(one.name) if fonts.writes(one.name) else f"category {number}"
        for number, one in enumerate(explanation.categories, 1)
    }
    query = explanation.query_category or ""
    return replace(
        explanation,
        instruction=fonts.writable(explanation.instruction),
        query=fonts.writable(explanation.query),
        categories=tuple(replace(one, name=names[one.name]) for one in explanation.categories),
        query_category=names.get(query) or fonts.writable(query),
    )


def check_picture(file: Path) -> None:
    """Refuse a file that cannot become a picture, before anything is computed.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed (extra `eval`).
        ConfigError: Its name ends in something else than .png, .svg or .pdf.
    """
    if file.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"A picture cannot be saved as {str(file)!r}: its name ends in {file.suffix!r}, and "
            f"{', '.join(_SUFFIXES)} are allowed. Use a name such as map.png."
        )
    for module in ("matplotlib.figure", "sklearn.manifold"):
        require(module, extra="eval")


def category_colours(explanation: Explanation) -> list[str]:
    """A colour for each category; of more than nine the small ones share a grey.

    The category of the query always has a colour of its own.
    """
    names = [category.name for category in explanation.categories]
    colours = list((_FEW if len(names) <= len(_FEW) else _MANY)[: len(names)])
    colours += [_REST] * (len(names) - len(colours))
    query = names.index(explanation.query_category) if explanation.query_category in names else 0
    if colours and colours[query] == _REST:
        last = len(_MANY) - 1
        colours[query], colours[last] = colours[last], _REST
    return colours


def _draw_panels(figure: "Figure", explanation: Explanation) -> None:
    points, (_, cloud) = map_points(explanation), explanation.fitted_part()
    colours = category_colours(explanation)
    own = [[*colours, _REST][category] for category in points.categories]  # -1 is the last
    sides = (
        (points.generic, points.query_generic, cloud.generic_results),
        (points.adapted, points.query_adapted, cloud.adapted_results),
    )
    for left, (rows, query, results) in zip(_LEFT, sides, strict=True):
        axes = figure.add_axes((left, 0.165, 0.455, 0.605), facecolor=_PAPER, xticks=[], yticks=[])
        axes.spines[:].set_color(_FRAME)
        axes.margins(0.07)
        _scatter(axes, rows, own)
        _mark(axes, query, rows[results])
    groups = {
        place: (_cut(category.name, _NAME), colour)
        for place, (category, colour) in enumerate(
            zip(explanation.categories, colours, strict=True)
        )
        if colour != _REST
    }
    name_groups(axes, points.adapted, points.categories, groups, points.query_adapted)


def _scatter(axes: "Axes", rows: FloatArray, colours: Sequence[str]) -> None:
    grey = np.array([colour == _REST for colour in colours])
    mixed = np.random.default_rng(0).permutation(len(rows))  # no category covers another
    order = mixed[np.argsort(~grey[mixed], kind="stable")]
    axes.scatter(
        rows[order, 0],
        rows[order, 1],
        s=float(np.clip(14_000 / len(rows), 9, 60)),
        c=[colours[row] for row in order],
        edgecolors="white",
        linewidths=0.3,
    )


def _mark(axes: "Axes", query: FloatArray, results: FloatArray) -> None:
    x, y = float(query[0]), float(query[1])
    for row in results:
        axes.plot([x, row[0]], [y, row[1]], color=_INK, lw=0.7, alpha=0.35, zorder=2)
    axes.scatter(
        results[:, 0], results[:, 1], s=95, facecolors="none", edgecolors=_INK, lw=1.5, zorder=3
    )
    axes.scatter([x], [y], s=430, marker="*", color=_INK, edgecolors="white", lw=1.4, zorder=4)


def _write_texts(figure: "Figure", explanation: Explanation) -> None:
    def write(x: float, y: float, text: str, width: int, size: float, **style: Any) -> None:
        line, style = _cut(text, width), {"color": _INK, "va": "center"} | style
        figure.text(x, y, line, size=size, parse_math=False, **style)

    (report, _), pale = explanation.fitted_part(), {"color": _PALE_INK}
    write(_LEFT[0], 0.945, explanation.instruction, 80, 23, weight="bold")
    write(_LEFT[0], 0.890, f"★ {explanation.query}", 150, 13, **pale)
    for left, head, adapted in zip(_LEFT, _HEADS, (False, True), strict=True):
        write(left, 0.822, head, 60, 15, weight="bold")
        write(left, 0.787, _caption(explanation, adapted), 90, 11.5, **pale)
    held_out = (
        f"{report.measure} on held-out rows: {report.generic:.2f} as stored, "
        f"{report.adapted:.2f} under the instruction"
    )
    how = "guessed label" if explanation.labelled else "cluster"
    sample = f"{explanation.rows:,} rows, coloured by {how}; learned from {report.judged:,}"
    write(_LEFT[0], 0.024, held_out, 100, 10.5, **pale)
    write(_LEFT[1] + 0.455, 0.024, sample, 80, 10.5, **pale, ha="right")


def _caption(explanation: Explanation, adapted: bool) -> str:
    if adapted and not explanation.used:
        return "not used by searches, since its gain may be chance"
    same, of = explanation.agreeing(adapted=adapted)
    if explanation.labelled:
        return (
            f"{same} of {of} results are taken for “{explanation.query_category}”, like the query"
        )
    return f"{same} of {of} results lie in the cluster of the query, “{explanation.query_category}”"


def _legend(figure: "Figure", explanation: Explanation) -> None:
    line = require("matplotlib.lines", extra="eval").Line2D
    names, colours = legend_entries(explanation)
    handles = [line([], [], ls="", marker="o", mfc=c, mec="white", ms=9.5) for c in colours]
    handles.append(line([], [], ls="", marker="o", mfc="none", mec=_INK, mew=1.5, ms=9.5))
    handles.append(line([], [], ls="", marker="*", mfc=_INK, mec="white", ms=16))
    names += ["result", "query"]
    columns = _columns(names)
    legend = figure.legend(
        handles,
        [str(number) for number in range(len(names))],
        loc="center",
        bbox_to_anchor=(0.5, 0.1),
        ncols=columns,
        frameon=False,
        fontsize=11.5 if len(names) <= 2 * columns else 10,
        handletextpad=0.2,
        columnspacing=1.6,
    )
    # Given as labels, names that begin with "_" would be left out and "$" would begin a formula.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False, color=_INK)


def _columns(names: Sequence[str]) -> int:
    """As many as fit, the lines about equally long."""
    fitting = max(1, _LEGEND // (5 + max(map(len, names))))
    lines = -(-len(names) // fitting)
    return -(-len(names) // lines)


def legend_entries(explanation: Explanation) -> tuple[list[str], list[str]]:
    """Names with counts, and their colours; the categories in grey share one entry."""
    pairs = list(zip(explanation.categories, category_colours(explanation), strict=True))
    own = [(one, colour) for one, colour in pairs if colour != _REST]
    names = [f"{_cut(one.name, _NAME)} ({one.count:,})" for one, _ in own]
    colours = [colour for _, colour in own]
    if rest := [one.count for one, colour in pairs if colour == _REST]:
        names.append(f"{len(rest)} others ({sum(rest):,})")
        colours.append(_REST)
    return names, colours


def _cut(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
