import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, MissingExtraError
from instruct_embeddings.explain import map as explain_map
from instruct_embeddings.explain.explanation import Category, Cloud, ComparedHit, Explanation
from instruct_embeddings.explain.map import (
    category_colours,
    legend_entries,
    picture,
    project,
)
from tests.unit.conftest import hand_made, small_rows

Make = Callable[..., Explanation]


def moved(row: str, before: int, after: int, category: str) -> ComparedHit:
    return ComparedHit(row, f"text of {row}", before, after, 0.5, 0.7, category, 0.9)


@pytest.fixture
def make() -> Make:
    """Explanations of 12 rows in each category: tight groups under the instruction."""

    def explanation(names: tuple[str, ...] = ("good", "bad"), **changes: Any) -> Explanation:
        groups = np.repeat(np.arange(len(names)), 12)
        rng = np.random.default_rng(0)
        generic = rng.standard_normal((len(groups), 6)).astype(np.float32)
        adapted = np.eye(len(names), dtype=np.float32)[groups] + 0.02 * generic[:, :1]
        parts: dict[str, Any] = {
            "query": "what went well?",
            "instruction": "Good or bad?",
            "learned": "Good or bad?",
            "collection": "reviews",
            "guide": "metadata:mood",
            "report": hand_made().report,
            "used": True,
            "ranked_by": "fitted",
            "labelled": True,
            "rows": len(groups),
            "stored": 500,
            "categories": tuple(Category(name, 12, 0.5, (), ()) for name in names),
            "query_category": names[0],
            "query_probability": 0.9,
            "k": 2,
            "depth": 100,
            "hits": (
                moved("a", 9, 1, names[0]),
                moved("b", 2, 2, names[0]),
                moved("c", 1, 50, names[-1]),
            ),
            "cloud": Cloud(
                generic,
                adapted,
                groups,
                generic[:1],
                adapted[:1],
                np.array([3, 13]),
                np.array([1, 2]),
            ),
        }
        return Explanation(**(parts | changes))

    return explanation


def first_two(vectors: FloatArray) -> FloatArray:
    """Rows by their first two numbers: fast, and known."""
    return np.pad(vectors, ((0, 0), (0, 1)))[:, :2].astype(np.float32)


@pytest.fixture(autouse=True)
def _fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_map" not in request.fixturenames:
        monkeypatch.setattr(explain_map, "project", first_two)


@pytest.fixture
def real_map() -> None:
    """The map is laid out by t-SNE, not by hand."""


def texts(figure: Any) -> list[str]:
    """What is written outside of the legend, from top to bottom and left to right."""
    panels = figure.axes
    return [
        *figure.get_suptitle().splitlines(),
        *(line for axes in panels for line in axes.get_title(loc="left").splitlines()),
        *(axes.get_xlabel() for axes in panels),
    ]


@pytest.mark.usefixtures("real_map")
def test_a_picture_for_a_slide_is_saved(make: Make, tmp_path: Path) -> None:
    file = make().draw(str(tmp_path / "new" / "map.png"))
    assert file == tmp_path / "new" / "map.png"
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == pytest.approx((2000, 1125), abs=1)


@pytest.mark.parametrize(("name", "begins"), [("map.svg", b"<?xml"), ("map.PDF", b"%PDF")])
def test_drawings_are_saved_by_their_ending(
    make: Make, tmp_path: Path, name: str, begins: bytes
) -> None:
    assert make().draw(tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["map.jpg", "map", "png"])
def test_other_files_are_refused(make: Make, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.svg, \.pdf"):
        make().draw(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["matplotlib.figure", "sklearn.manifold"])
def test_without_the_extra_the_error_names_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[eval\]"):
        make().draw(tmp_path / "map.png")


def test_both_panels_show_the_same_rows_in_the_same_colours(make: Make) -> None:
    explanation = make()
    figure = picture(explanation)
    generic, adapted = figure.axes
    cloud = explanation.cloud
    assert cloud is not None
    for axes, vectors, query, results in (
        (generic, cloud.generic, cloud.query_generic, [3, 13]),
        (adapted, cloud.adapted, cloud.query_adapted, [1, 2]),
    ):
        rows = first_two(vectors)
        dots, rings, star = axes.collections
        placed: Any = dots.get_offsets()
        colours = {
            tuple(place): to_hex(colour)
            for place, colour in zip(placed.tolist(), dots.get_facecolors(), strict=True)
        }
        for row, place in enumerate(rows.tolist()):
            assert colours[tuple(place)].upper() == ("#0072B2" if row < 12 else "#E69F00")
        np.testing.assert_array_equal(rings.get_offsets(), rows[results])
        np.testing.assert_allclose(star.get_offsets(), first_two(query), atol=1e-6)
        assert len(axes.lines) == 2  # from the query to its results


def test_the_picture_says_what_it_shows(make: Make) -> None:
    said = texts(picture(make()))
    assert said == [
        "Good or bad?",
        "★ what went well?",
        "As stored",
        "1 of 2 results are taken for “good”, like the query",
        "Under the instruction",
        "2 of 2 results are taken for “good”, like the query",
        "precision@10 on held-out rows: 0.50 as stored, 1.00 under the instruction",
        "24 rows, coloured by guessed label; learned from 6",
    ]


def test_true_labels_colour_the_map_where_they_are_known(make: Make) -> None:
    guessed = make()
    assert guessed.cloud is not None
    labels = ("apple", "apple", None, *["pear"] * 21)
    hits = [replace(hit, label=one) for hit, one in zip(guessed.hits, labels, strict=False)]
    cloud = replace(guessed.cloud, labels=labels)
    figure = picture(replace(guessed, cloud=cloud, hits=tuple(hits), label_key="fruit"))
    said = texts(figure)
    assert said[3] == "results by true label: 1 no label, 1 apple"
    assert said[5] == "results by true label: 2 apple"
    assert said[7].startswith("24 rows, coloured by true label (fruit)")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["pear (21)", "apple (2)"]


def test_clusters_are_called_clusters(make: Make) -> None:
    said = texts(picture(make(labelled=False)))
    assert said[3] == "1 of 2 results lie in the cluster of the query, “good”"
    assert said[7] == "24 rows, coloured by guessed cluster; learned from 6"


def test_a_transform_that_is_not_used_is_said_to_be_not_used(make: Make) -> None:
    assert texts(picture(make(used=False)))[5] == (
        "not used by searches, since its gain may be chance"
    )
    request = make(used=False, guide="encoder:x", instruction="Find what refutes it.")
    assert "the instruction asks for something" in texts(picture(request))[5]


def test_groups_are_named_beside_them_and_in_the_legend(make: Make) -> None:
    figure = picture(make())
    assert [text.get_text() for text in figure.axes[0].texts] == []
    assert [text.get_text() for text in figure.axes[1].texts] == ["good", "bad"]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "good (12)",
        "bad (12)",
        "result",
        "query",
    ]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"c{number}" for number in range(count))


@pytest.mark.parametrize("count", [1, 2, 6, 7, 9])
def test_up_to_nine_categories_have_colours_of_their_own(make: Make, count: int) -> None:
    assert len(set(category_colours(make(names(count))))) == count


def test_the_small_categories_share_a_grey(make: Make) -> None:
    explanation = make(names(14))
    colours = category_colours(explanation)
    assert len(set(colours)) == 10
    assert len(set(colours[9:])) == 1
    entries, shown = legend_entries(explanation)
    assert entries[8:] == ["c8 (12)", "5 others (60)"]
    assert (len(entries), shown[-1]) == (10, colours[13])
    assert len(picture(explanation).legends[0].get_texts()) == 12


def test_the_category_of_the_query_is_never_grey(make: Make) -> None:
    usual = category_colours(make(names(14)))
    explanation = make(names(14), query_category="c11")
    colours = category_colours(explanation)
    assert (colours[11], colours[8]) == (usual[8], usual[11])
    assert legend_entries(explanation)[0][7:] == ["c7 (12)", "c11 (12)", "5 others (60)"]
    assert category_colours(make(names(14), query_category="not sampled")) == usual


def test_rows_of_a_category_without_sampled_rows_are_grey(make: Make) -> None:
    explanation = make()
    cloud = replace(explanation.cloud, categories=np.full(24, -1))
    dots = picture(replace(explanation, cloud=cloud)).axes[0].collections[0]
    assert {to_hex(colour).upper() for colour in dots.get_facecolors()} == {
        category_colours(make(names(14)))[-1]
    }


@pytest.mark.filterwarnings("ignore:No installed font:UserWarning")
@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 or $6_x^",
        "_private",
        "價格太高了",
        "🦀" * 400,
        "\\frac{",
        "two\nlines",
        "%s {x}",
    ],
)
def test_any_text_can_be_shown(make: Make, tmp_path: Path, text: str) -> None:
    explanation = make((text, "bad"), query=text, instruction=text)
    file = explanation.draw(tmp_path / "map.png")
    assert file.stat().st_size > 10_000


def test_long_texts_are_cut(make: Make) -> None:
    said = texts(picture(make(query="word " * 200)))
    assert len(said[1]) == 112
    assert said[1].endswith("word…")


def test_without_results_only_the_query_is_marked(make: Make) -> None:
    explanation = make(hits=())
    none = np.empty(0, np.int64)
    cloud = replace(explanation.cloud, generic_results=none, adapted_results=none)
    figure = picture(replace(explanation, cloud=cloud))
    assert [len(axes.lines) for axes in figure.axes] == [0, 0]


def named(
    explanation: Explanation, rows: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The names in the right panel, where the rows and the query lie as given."""
    points = np.concatenate([rows, [[0.0, 5.0]]]).astype(np.float32)
    monkeypatch.setattr(explain_map, "project", lambda vectors: points)
    return {text.get_text(): text for text in picture(explanation).axes[1].texts}


def groups_at(*middles: tuple[float, float], size: float = 0.1) -> FloatArray:
    """Twelve rows around each place."""
    noise = np.random.default_rng(0).uniform(-size, size, (len(middles), 12, 2))
    return (np.array(middles)[:, None] + noise).reshape(-1, 2)


def test_names_stand_on_their_groups(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = named(make(), groups_at((-3, 0), (3, 0)), monkeypatch)
    for name, x in (("good", -3), ("bad", 3)):
        assert found[name].get_position() == pytest.approx((x, 0), abs=0.1)


def test_names_do_not_cover_each_other_and_stay_inside(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = groups_at((0, 0), (0.2, 0.1), (-4, -4), (9, 0))
    found = named(make(("one", "two", "a long name", "x" * 30)), rows, monkeypatch)
    assert list(found) == ["one", "a long name", "x" * 30]  # "two" would cover "one"
    for text in found.values():
        box, panel = text.get_window_extent(), text.axes.bbox
        assert panel.x0 - 1 <= box.x0
        assert box.x1 <= panel.x1 + 1


def test_scattered_and_tiny_groups_are_not_named(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = groups_at((-3, 0), (3, 0))
    rows[:12] = groups_at((0, 0), size=4.0)
    assert list(named(make(), rows, monkeypatch)) == ["bad"]
    explanation = make()
    cloud = replace(explanation.cloud, categories=np.array([0] * 2 + [1] * 22))
    rows = groups_at((-3, 0), (3, 0), size=4.0)
    assert list(named(replace(explanation, cloud=cloud), rows, monkeypatch)) == []


def bundles(each: int = 15) -> FloatArray:
    """Three groups of rows in ten dimensions, far from each other, in turn."""
    noise = np.random.default_rng(0).standard_normal((3 * each, 10))
    centres = np.tile(10 * np.eye(3, 10), (each, 1))
    return (centres + 0.5 * noise).astype(np.float32)


def test_rows_of_a_group_lie_together() -> None:
    places = project(bundles())
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    groups = np.arange(45) % 3
    assert (groups[distances.argmin(axis=1)] == groups).all()


def test_the_same_seed_gives_the_same_map() -> None:
    first, again = (project(bundles(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, project(bundles()[::-1], seed=3)[::-1])


@given(small_rows(6, 4), st.integers(0, 3))
def test_few_rows_are_laid_out_by_principal_components(rows: FloatArray, seed: int) -> None:
    places = project(rows, seed=seed)
    assert places.shape == (6, 2)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-5)
    lengths = np.linalg.norm(places, axis=1)
    assert lengths.max() == pytest.approx(1, abs=1e-5) or (rows == rows[0]).all()
    assert places[:, 0].var() >= places[:, 1].var() - 1e-5


def test_rows_on_a_line_stay_on_it() -> None:
    places = project(np.array([[0, 0, 0], [1, 2, 2], [4, 8, 8]], np.float32))
    # They lie at 0, 3 and 12; the mean is 5, the farthest 7 from it. The largest is positive.
    np.testing.assert_allclose(places, [[-5 / 7, 0], [-2 / 7, 0], [1, 0]], atol=1e-5)


@settings(max_examples=5)
@given(st.integers(1, 60))
def test_equal_rows_lie_in_the_middle(count: int) -> None:
    rows = np.full((count, 3), 0.577, dtype=np.float32)
    np.testing.assert_array_equal(project(rows), np.zeros((count, 2)))


def test_vectors_of_one_dimension_get_a_second() -> None:
    places = project(np.array([[1], [-1]], np.float32))
    assert np.abs(places).tolist() == [[1, 0], [1, 0]]
