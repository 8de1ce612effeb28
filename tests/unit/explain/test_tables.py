from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings._printable import as_text
from instruct_embeddings.explain import explain
from instruct_embeddings.explain.explanation import Category, Explanation, tables
from tests.unit.explain.test_explain import QUERY, SIDE, over_plane


@pytest.fixture
def found(tmp_path: Path) -> Explanation:
    return explain(over_plane(tmp_path), QUERY, "a query", SIDE, k=2)


def cells(found: Explanation, start: str) -> list[str]:
    """The words of the line of a table that begins so."""
    lines = str(found).splitlines()
    return next(line for line in lines if line.split()[:1] == [start]).split()


def test_categories_are_a_table(found: Explanation) -> None:
    assert "5 sampled rows by the label they are taken for" in str(found)
    assert cells(found, "left") == ["left", "4", "80%", "left", "far", "left"]
    assert cells(found, "right") == ["right", "1", "20%", "right", "right"]


def test_results_are_a_table_of_what_moved(found: Explanation) -> None:
    lines = str(found).splitlines()
    assert "taken for: left 92%" in lines
    start = next(number for number, line in enumerate(lines) if line.split()[:1] == ["rank"])
    rows = [line.split() for line in lines[start + 2 :]]
    # Folded 1; in the space the cosine is 1 and the chance of one label 0.917 * 0.982 + 0.083 *
    # 0.018 = 0.902: 0.5 * 1 + 0.5 * (0.5 * 1 + 0.5 * 0.902) = 0.975.
    assert rows[0][:5] == ["1", "3", "▲", "2", "0.975"]
    assert rows[0][5:] == ["0.600", "left", "98%", "far", "left"]
    assert rows[1][:4] == ["2", "4", "▲", "2"]
    assert rows[1][-2:] == ["(no", "text)"]
    assert rows[2] == []  # below are the generic results that left
    assert rows[3][:4] == ["3", "1", "▼", "2"]
    assert rows[4][:4] == ["4", "2", "▼", "2"]


def test_the_last_line_counts_agreement(found: Explanation) -> None:
    assert str(found).splitlines()[-1] == (
        'Taken for "left", like the query: 2 of the 2 generic results, 2 of the 2 under the '
        "instruction."
    )


def test_ranks_beyond_those_looked_at_are_said_to_be_so(found: Explanation) -> None:
    far, low, *rest = found.hits
    far, low = replace(far, generic_rank=None), replace(low, generic_rank=2)
    moved = replace(found, hits=(far, low, *rest))
    assert cells(moved, "1")[:3] == ["1", ">100", "▲"]
    assert cells(moved, "2")[:3] == ["2", "2", "="]
    gone = replace(rest[0], adapted_rank=None)
    assert cells(replace(found, hits=(gone,)), ">100")[:3] == [">100", "1", "▼"]


def test_clusters_are_called_clusters_and_have_no_probability(found: Explanation) -> None:
    hits = tuple(replace(hit, probability=None) for hit in found.hits)
    text = str(replace(found, labelled=False, query_probability=None, hits=hits))
    assert "5 sampled rows in clusters" in text
    assert "\nin cluster: left\n" in text
    assert "distinctive words" not in text
    assert 'In cluster "left", like the query' in text
    assert "92%" not in text


def test_a_transform_that_is_not_used_is_said_to_be_not_used(found: Explanation) -> None:
    assert "is not used, since its gain may be chance" in str(replace(found, used=False))


def test_many_categories_are_summed_up(found: Explanation) -> None:
    many = tuple(Category(f"c{n}", 10, 0.05, (), ()) for n in range(20))
    text = str(replace(found, categories=many, rows=200))
    assert "c11" in text
    assert "c12" not in text
    assert cells(replace(found, categories=many, rows=200), "8") == ["8", "more", "80", "40%"]


@pytest.mark.parametrize("width", [60, 100, 200])
def test_lines_keep_to_the_width(found: Explanation, width: int) -> None:
    long = replace(found, query="[bold]word[/bold] " * 30, query_category="x" * 99)
    hits = tuple(replace(hit, text="多字 " * 90, category="y" * 99) for hit in found.hits)
    text = as_text(*tables(replace(long, hits=hits)), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "[bold]" in text


def test_the_query_may_have_any_direction(tmp_path: Path) -> None:
    found = explain(over_plane(tmp_path), np.array([-1.0, 0.0]), "a query", SIDE, k=1)
    assert "taken for: right 98%" in str(found)
    assert cells(found, "1")[:3] == ["1", "1", "="]
