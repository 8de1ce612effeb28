"""Results as they are kept."""

import json

import pytest

from benchmarks.environment import compact


@pytest.mark.parametrize(
    "value", [{}, [], None, "a", 1.5, {"a": [1, 2], "b": {"c": None}}, [[1] * 60, {"x": "y" * 200}]]
)
def test_results_are_read_back_as_they_were(value: object) -> None:
    assert json.loads(compact(value)) == value


def test_a_row_of_figures_is_one_line() -> None:
    rows = [{"name": "n" * 200, "figures": [i / 10, i]} for i in range(5)]
    lines = compact({"rows": rows, "note": "short"}).splitlines()
    assert len(lines) == 1 + 1 + 5 + 1 + 1 + 1
    assert json.loads(lines[2].rstrip(",")) == rows[0]
