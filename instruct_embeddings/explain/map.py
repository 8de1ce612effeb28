"""The figure of an explanation: one sample, as it is stored and under the instruction."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._extras import require
from instruct_embeddings._printable import printable
from instruct_embeddings._threads import one_thread
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.explanation import Category, Explanation
from instruct_embeddings.explain.figures import (
    FRAME,
    INK,
    PALE_INK,
    Fonts,
    check_figure_file,
    find_fonts,
    new_figure,
)
from instruct_embeddings.transform.report import FitReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_COMPONENTS = 50
_PERPLEXITY = 30.0
_MIN_ROWS_FOR_TSNE = 8
_SIZE = (13.333, 7.5)  # inches: a slide
# Told apart with any colour vision: six of Okabe and Ito's, or Tol's muted nine.
_FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
# fmt: off
_MANY = (
    "#332288", "#DDCC77", "#117733", "#CC6677", "#88CCEE", "#882255", "#44AA99", "#999933",
    "#AA4499",
)
# fmt: on
_OTHER, _BACKGROUND = "#C8C8C8", "#FBFBFC"
_NAME = 30  # letters
_LEGEND = 160  # letters in a line of the legend
_COMPACT = 0.6  # spread of a group that is named, in spreads of all rows
_MIN_ROWS_NAMED = 3
_COUNTED = 3  # labels in a caption


def check_map_file(file: Path) -> None:
    """Refuse what prevents a map (file name, missing packages) before anything is computed."""
    check_figure_file(file)
    for module in ("matplotlib.figure", "sklearn.manifold"):
        require(module, extra="eval")


def picture(explanation: Explanation) -> "Figure":
    """The map as a figure of matplotlib.

    Letters that the usual font lacks are written with another that is installed. Where none has
    them, a category has its number instead of its name, with a warning.
    """
    explanation = by_true_labels(explanation)
    report, cloud = explanation.report, explanation.cloud
    if report is None or cloud is None:
        raise ConfigError(
            f"There is no map of {explanation.instruction!r}: no fitted transform answers it. Give "
            "the retriever a guide, such as EncoderGuide(), or run `instruct-embeddings adapt`."
        )
    figure = new_figure(*_SIZE)
    names = [category.name for category in explanation.categories]
    fonts = find_fonts([explanation.instruction, explanation.query, *names])
    fonts.warn_of_missing("categories have numbers, in the order of the table that `print` shows")
    drawn = _writable(explanation, fonts)
    generic = project(np.concatenate([cloud.generic, cloud.query_generic]))
    adapted = project(np.concatenate([cloud.adapted, cloud.query_adapted]))
    with fonts.used():
        _write_texts(figure, drawn, report)
        left, right = figure.axes
        colours = np.array(row_colours(drawn))
        _draw_rows(left, generic, cloud.generic_results, colours)
        _draw_rows(right, adapted, cloud.adapted_results, colours)
        figure.draw_without_rendering()  # settles the layout
        _name_groups(right, adapted[:-1], cloud.categories, drawn)
    return figure


def by_true_labels(explanation: Explanation) -> Explanation:
    """With the true labels in place of the categories, where they are known."""
    cloud = explanation.cloud
    if cloud is None or not cloud.labels:
        return explanation
    counts = Counter(label for label in cloud.labels if label is not None)
    names = [name for name, _ in counts.most_common()]
    positions = [-1 if one is None else names.index(one) for one in cloud.labels]
    share = 1 / counts.total()
    return replace(
        explanation,
        categories=tuple(Category(name, n, n * share, (), ()) for name, n in counts.most_common()),
        query_category=None,
        cloud=replace(cloud, categories=np.array(positions, dtype=np.int64)),
    )


def coloured_by(explanation: Explanation) -> str:
    """What the colours of the map stand for."""
    if explanation.label_key:
        return f"true label ({explanation.label_key})"
    return "guessed label" if explanation.labelled else "guessed cluster"


@one_thread()
def project(vectors: FloatArray, *, seed: int = 0) -> FloatArray:
    """Rows in two dimensions: principal components, then t-SNE where there are enough rows.

    Shape (n, p) to (n, 2), centred, the farthest row at distance 1; zeros if all rows are equal.
    """
    if np.ptp(vectors, axis=0).max() < 1e-6:
        return np.zeros((len(vectors), 2), dtype=np.float32)
    pca = require("sklearn.decomposition", extra="eval").PCA
    components = pca(min(_COMPONENTS, *vectors.shape), svd_solver="full").fit_transform(
        vectors.astype(np.float64)
    )
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 1)))
    points = components[:, :2]
    if len(vectors) >= _MIN_ROWS_FOR_TSNE:
        tsne = require("sklearn.manifold", extra="eval").TSNE(
            perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
            init=1e-4 * points / points[:, 0].std(),
            random_state=seed,
        )
        points = tsne.fit_transform(components)
    centred = points - points.mean(0)
    return np.asarray(centred / np.linalg.norm(centred, axis=1).max(), dtype=np.float32)


def category_colours(explanation: Explanation) -> list[str]:
    """A colour for each category; of more than nine the small ones share a grey.

    The category of the query always has a colour of its own.
    """
    names = [category.name for category in explanation.categories]
    own = _FEW if len(names) <= len(_FEW) else _MANY
    order = list(range(len(names)))
    if explanation.query_category in names[len(own) :]:
        query, last = names.index(explanation.query_category), len(own) - 1
        order[query], order[last] = last, query
    return [own[place] if place < len(own) else _OTHER for place in order]


def row_colours(explanation: Explanation) -> list[str]:
    """The colour of each row of the map; empty without a map."""
    colours = [*category_colours(explanation), _OTHER]  # -1, no category, is the last
    return [] if explanation.cloud is None else [colours[i] for i in explanation.cloud.categories]


def legend_entries(explanation: Explanation) -> tuple[list[str], list[str]]:
    """Names with counts, and their colours; the categories in grey share one entry."""
    pairs = list(zip(explanation.categories, category_colours(explanation), strict=True))
    own = [(one, colour) for one, colour in pairs if colour != _OTHER]
    names = [f"{_cut(one.name, _NAME)} ({one.count:,})" for one, _ in own]
    colours = [colour for _, colour in own]
    if rest := [one.count for one, colour in pairs if colour == _OTHER]:
        names.append(f"{len(rest)} others ({sum(rest):,})")
        colours.append(_OTHER)
    return names, colours


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


def _write_texts(figure: "Figure", explanation: Explanation, report: FitReport) -> None:
    """Titles, the two panels with what is said of them, and the legend."""
    head = f"{_cut(explanation.instruction, 80)}\n★ {_cut(explanation.query, 110)}"
    figure.suptitle(head, x=0.01, ha="left", size=17, color=INK, parse_math=False)
    said = (("As stored", False), ("Under the instruction", True))
    below = (
        f"{report.measure} on held-out rows: {report.generic:.2f} as stored, "
        f"{report.adapted:.2f} under the instruction",
        f"{explanation.rows:,} rows, coloured by {coloured_by(explanation)}; "
        f"learned from {report.judged:,}",
    )
    for axes, (title, adapted), note in zip(figure.subplots(1, 2), said, below, strict=True):
        head = f"{title}\n{_caption(explanation, adapted=adapted)}"
        axes.set_title(head, loc="left", size=12, color=INK, parse_math=False)
        axes.set_xlabel(note, loc="left", size=10.5, color=PALE_INK)
        axes.set(facecolor=_BACKGROUND, xticks=[], yticks=[])
        axes.spines[:].set_color(FRAME)
        axes.margins(0.07)
    _legend(figure, *legend_entries(explanation))


def _caption(explanation: Explanation, *, adapted: bool) -> str:
    if adapted and explanation.why_unused:
        return f"not used by searches, since {explanation.why_unused}"
    if explanation.label_key:
        found = Counter(hit.label or "no label" for hit in explanation.results(adapted=adapted))
        counted = [f"{count} {_cut(name, _NAME)}" for name, count in found.most_common(_COUNTED)]
        return f"results by true label: {', '.join(counted)}"
    same, of = explanation.agreeing(adapted=adapted)
    category = _cut(explanation.query_category or "", _NAME)
    if explanation.labelled:
        return f"{same} of {of} results are taken for “{category}”, like the query"
    return f"{same} of {of} results lie in the cluster of the query, “{category}”"


def _legend(figure: "Figure", names: Sequence[str], colours: Sequence[str]) -> None:
    line = require("matplotlib.lines", extra="eval").Line2D
    handles = [line([], [], ls="", marker="o", mfc=c, mec="white", ms=9.5) for c in colours]
    handles.append(line([], [], ls="", marker="o", mfc="none", mec=INK, mew=1.5, ms=9.5))
    handles.append(line([], [], ls="", marker="*", mfc=INK, mec="white", ms=16))
    names = [*names, "result", "query"]
    legend = figure.legend(
        handles,
        [str(number) for number in range(len(names))],
        loc="outside lower center",
        ncols=max(1, min(len(names), _LEGEND // (5 + max(map(len, names))))),
        frameon=False,
        fontsize=10.5,
        handletextpad=0.2,
        columnspacing=1.6,
    )
    # Given as labels, names that begin with "_" would be left out and "$" would begin a formula.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False, color=INK)


def _draw_rows(
    axes: "Axes", points: FloatArray, results: IntArray, colours: NDArray[np.str_]
) -> None:
    """The rows of one panel in their colours, and the query, the last point, with its results."""
    rows, (x, y), found = points[:-1], points[-1], points[results]
    mixed = np.random.default_rng(0).permutation(len(rows))  # no category covers another
    order = mixed[np.argsort(colours[mixed] != _OTHER, kind="stable")]
    axes.scatter(
        rows[order, 0],
        rows[order, 1],
        s=float(np.clip(14_000 / len(rows), 9, 60)),
        c=colours[order].tolist(),
        edgecolors="white",
        linewidths=0.3,
    )
    for row in found:
        axes.plot([x, row[0]], [y, row[1]], color=INK, lw=0.7, alpha=0.35, zorder=2)
    x_found, y_found = found.T
    axes.scatter(x_found, y_found, s=95, facecolors="none", edgecolors=INK, lw=1.5, zorder=3)
    axes.scatter([x], [y], s=430, marker="*", color=INK, edgecolors="white", lw=1.4, zorder=6)


def _name_groups(
    axes: "Axes", rows: FloatArray, categories: IntArray, explanation: Explanation
) -> None:
    """Write the names of compact groups on them, but not over each other: the legend has them."""
    outline = require("matplotlib.patheffects", extra="eval").withStroke(
        linewidth=3.5, foreground="white"
    )
    look: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "parse_math": False}
    taken: list[Bbox] = []
    for index, category in enumerate(explanation.categories):
        own = rows[categories == index]
        if len(own) < _MIN_ROWS_NAMED or _spread(own) > _COMPACT * _spread(rows):
            continue
        x, y = np.median(own, axis=0).tolist()
        text = axes.text(
            x, y, _cut(category.name, _NAME), color=INK, size=12, path_effects=[outline], **look
        )
        text.set(zorder=5, in_layout=False)
        box = text.get_window_extent()
        # Inside the panel, although the middle of the group is near its edge.
        shift = max(0.0, axes.bbox.x0 - box.x0) + min(0.0, axes.bbox.x1 - box.x1)
        box = box.translated(shift, 0)
        if any(box.overlaps(other) for other in taken):
            text.remove()
            continue
        text.set_x(axes.transData.inverted().transform((box.x0 + box.width / 2, box.y0))[0])
        taken.append(box)


def _spread(points: FloatArray) -> float:
    """Median distance from the median."""
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))


def _cut(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
