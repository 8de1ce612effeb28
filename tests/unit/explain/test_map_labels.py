from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.explain.map_labels import name_groups

COLOURS = ["#FF0000", "#00FF00", "#0000FF"]
FAR = np.array([0, 5], np.float32)


def group(x: float, y: float, size: float = 0.1) -> FloatArray:
    """Nine rows in a square around a place."""
    steps = np.array([-1, 0, 1])
    return np.stack(np.meshgrid(x + size * steps, y + size * steps), axis=2).reshape(9, 2)


def named(*groups: FloatArray, query: FloatArray = FAR, name: str = "name") -> Any:
    """A panel from -5 to 5 with the names that found a place."""
    axes = Figure(figsize=(6, 6)).subplots()
    axes.set(xlim=(-5, 5), ylim=(-5, 5))
    rows, count = np.concatenate(groups), len(groups)
    categories: IntArray = np.repeat(np.arange(count), [len(rows) for rows in groups])
    shown = {number: (f"{name} {number}", COLOURS[number]) for number in range(count)}
    name_groups(axes, rows, categories, shown, query)
    return axes


def test_names_stand_above_their_groups_in_their_colour_but_darker() -> None:
    axes = named(group(-3, 0), group(3, 0))
    assert [text.get_text() for text in axes.texts] == ["name 0", "name 1"]
    for text, x, colour in zip(axes.texts, (-3, 3), COLOURS, strict=False):
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert (box.x0 + box.x1) / 2 == pytest.approx(x, abs=0.05)
        assert 0.1 < box.y0 < 0.5
        assert text.get_color() == pytest.approx([0.7 * part for part in to_rgb(colour)])


def test_at_the_upper_edge_names_stand_below() -> None:
    axes = named(group(-3, 4.85), group(3, 0))
    box = axes.texts[0].get_window_extent().transformed(axes.transData.inverted())
    assert box.y1 < 4.7


def test_at_the_left_edge_names_begin_inside_the_panel() -> None:
    axes = named(group(-4.8, 0), group(3, 0), name="rather long")
    box = axes.texts[0].get_window_extent().transformed(axes.transData.inverted())
    assert -5 < box.x0 < -4.8
    assert box.y0 > 0.1


def test_in_a_crowd_a_name_stands_on_its_group() -> None:
    others = [group(x, y) for x in (-1.5, 0, 1.5) for y in (-0.8, 0, 0.8) if x or y]
    axes = named(group(0, 0, 0.4), np.concatenate(others), name="crowded")
    assert [text.get_text() for text in axes.texts] == ["crowded 0"]
    box = axes.texts[0].get_window_extent().transformed(axes.transData.inverted())
    assert (box.x0 + box.x1, box.y0 + box.y1) == pytest.approx((0, 0), abs=0.1)


def test_names_keep_off_the_query() -> None:
    above = np.array([-3, 0.4], np.float32)
    axes = named(group(-3, 0), group(3, 0), query=above)
    box = axes.texts[0].get_window_extent().transformed(axes.transData.inverted())
    assert box.y1 < 0


def test_a_name_that_fits_nowhere_is_left_out() -> None:
    axes = named(group(-3, 0), group(3, 0), name="x" * 60)
    assert list(axes.texts) == []


def test_names_do_not_cover_each_other() -> None:
    axes = named(group(0, 0), group(0.3, 0.1), group(-4, -4), name="a long name")
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 3
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_scattered_and_tiny_groups_are_not_named() -> None:
    axes = named(group(0, 0, size=4.0), group(3, 0)[:2], group(-3, 0))
    assert [text.get_text() for text in axes.texts] == ["name 2"]
