"""Names beside the groups of a map, where there is room for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_COMPACT = 0.6
_CORE = 2.2
_FEWEST_ROWS = 3
_MOST_COVERED = 3  # rows
_SHADE = 0.7
_GAP, _MARGIN = 11.0, 4.0  # pixels at 100 dots per inch


def name_groups(
    axes: "Axes",
    rows: FloatArray,
    categories: IntArray,
    groups: Mapping[int, tuple[str, str]],
    query: FloatArray,
) -> None:
    """Write the name of each compact group at its edge, or on it, in a darker shade of its colour.

    A name is left out where its group is scattered, or where it would cover another name, the
    query or rows of others, or leave the panel: the legend holds it anyway.

    Args:
        axes: The panel, with everything else drawn.
        rows: Rows on the map, shape (n, 2).
        categories: Category of each row, shape (n,).
        groups: Name and colour of the categories that are told apart.
        query: The query on the map, shape (2,).
    """
    effects = require("matplotlib.patheffects", extra="eval")
    box = require("matplotlib.transforms", extra="eval").Bbox
    axes.get_xlim()  # settles the scale
    dots = axes.transData.transform(rows)
    x, y = axes.transData.transform(query)
    taken = [box.from_extents(x - 12, y - 12, x + 12, y + 12)]
    for category, (name, colour) in groups.items():
        own = dots[categories == category]
        if len(own) < _FEWEST_ROWS or _spread(own) > _COMPACT * _spread(dots):
            continue
        text = axes.text(0, 0, name, size=12, weight="bold", va="bottom", zorder=5)
        text.set(color=_darker(colour), parse_math=False)
        text.set_path_effects([effects.withStroke(linewidth=3.5, foreground="white")])
        place = _find_place(
            text.get_window_extent(), axes.bbox, dots, categories == category, taken
        )
        if place is None:
            text.remove()
            continue
        left, bottom = axes.transData.inverted().transform((place.x0, place.y0))
        text.set_position((left, bottom))
        taken.append(place)


def _find_place(
    size: "Bbox", panel: "Bbox", dots: FloatArray, own: BoolArray, taken: Sequence["Bbox"]
) -> "Bbox | None":
    """Of the places for a name that cover nothing else, the one that covers the fewest rows."""
    places = [
        place
        for place in _around(dots[own], size.width, size.height, panel)
        if _inside(place, panel)
        and not any(place.overlaps(other) for other in taken)
        and place.count_contains(dots[~own]) <= _MOST_COVERED
    ]
    return min(places, key=lambda place: place.count_contains(dots), default=None)


def _darker(colour: str) -> tuple[float, ...]:
    red, green, blue = require("matplotlib.colors", extra="eval").to_rgb(colour)
    return _SHADE * red, _SHADE * green, _SHADE * blue


def _spread(dots: FloatArray) -> float:
    """Median distance from the median."""
    return float(np.median(np.linalg.norm(dots - np.median(dots, axis=0), axis=1)))


def _around(own: FloatArray, width: float, height: float, panel: "Bbox") -> "Iterator[Bbox]":
    """Boxes above, below, right and left of a group without its stragglers, and on it."""
    box = require("matplotlib.transforms", extra="eval").Bbox
    x, y = np.median(own, axis=0) - (width / 2, height / 2)
    core = own[np.linalg.norm(own - np.median(own, axis=0), axis=1) <= _CORE * _spread(own)]
    (left, bottom), (right, top) = core.min(axis=0), core.max(axis=0)
    # Not beyond the sides of the panel, although the middle of the group is near one.
    x = max(panel.x0 + _MARGIN, min(x, panel.x1 - _MARGIN - width))
    yield box.from_bounds(x, top + _GAP, width, height)
    yield box.from_bounds(x, bottom - _GAP - height, width, height)
    yield box.from_bounds(right + _GAP, y, width, height)
    yield box.from_bounds(left - _GAP - width, y, width, height)
    yield box.from_bounds(x, y, width, height)


def _inside(place: "Bbox", panel: "Bbox") -> bool:
    return bool(
        panel.x0 <= place.x0
        and place.x1 <= panel.x1
        and panel.y0 <= place.y0
        and place.y1 <= panel.y1
    )
