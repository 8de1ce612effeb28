"""Costs are worked out as their lines say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import environment, growing, quantisation
from benchmarks.report import tabulate


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes 1 ms more at each tenfold."""
    monkeypatch.setattr(environment, "RESULTS", tmp_path)

    def at(n: int, ms: float, first: float) -> dict[str, object]:
        aspect = {
            "plain ms": {"median": 1.0},
            "adapted ms": {"median": ms},
            "first answer s": first,
        }
        return {"n": n, "prefetch": 100, "re-encoding seconds": n / 100, "aspects": [aspect]}

    sizes = [at(10_000, 2.0, 1.0), at(100_000, 3.0, 1.5), at(1_000_000, 4.0, 3.0)]
    about = {"cores": 2}
    environment.save("query", {"environment": about, "results": sizes})
    peaks = {"plain": {"peak MB": 2000.4}, "adapted": {"peak MB": 2300.0}}
    environment.save("scale", {"size": 1_000_000, "searching": peaks})
    kept = {"results": [{"kept as": "a byte", "the first ten": 0.9}], "rows": 5, "vectors": 5}
    environment.save("quantisation", kept)
    phases = {"phases": [{"phase": "known", "searches a second": 200.0}]}
    environment.save(
        "load",
        {
            "environment": about,
            "size": 100_000,
            "results": {"embedded": phases, "server": phases},
        },
    )


@pytest.mark.usefixtures("measured")
def test_what_a_hundred_million_rows_cost() -> None:
    _, lines = growing.costs(growing.Asked([100_000_000], dimension=100, machines=10))
    found = {name.partition(",")[0]: value for name, _, value in lines}
    assert found == {
        "vectors in float32": "40.0",
        "vectors in float16": "20.0",
        "vectors in int8": "10.0",
        "links of HNSW": "13.2",
        "index in float32": "53.2",
        "machines of 64 GB that hold it": "2 / 1 / 1",
        "encoding on one machine": "277.8",
        "encoding on 10": "27.8",
        "fit of an instruction": "1.0",
        "reading these rows in Chroma": "200.0",
        "search under a known instruction": "6.0",
        "searches a second of a replica": "100",
        "vectors that come along": "0.04",
        "and MB a second": "4",
    }


@pytest.mark.usefixtures("measured")
def test_a_model_of_ones_own_takes_its_own_time() -> None:
    _, lines = growing.costs(growing.Asked([3_600], seconds=2.0))
    assert ["encoding on one machine, hours", "rows x 2.0000 s / 3,600", "2.0"] in lines


@pytest.mark.usefixtures("measured")
def test_where_each_transform_measured_its_candidates_a_filter_asks_for_the_default() -> None:
    query = environment.load("query")
    for result in query["results"]:
        del result["prefetch"]
    environment.save("query", query)
    _, lines = growing.costs(growing.Asked([1_000_000], dimension=100))
    [line] = [one for one in lines if one[0].startswith("vectors that come along")]
    assert line[1:] == ["600 x 100 x 4 bytes", "0.24"]


@pytest.mark.usefixtures("measured")
def test_the_parts_of_the_page_are_replaced() -> None:
    page = "# A\n\n<!-- figures -->\nstale\n<!-- end of figures -->\n\nB\n\n<!-- figures -->\n"
    page += "stale\n<!-- end of figures -->\n\nC\n\n<!-- figures -->\nstale\n"
    page += "<!-- end of figures -->\n\nD\n"
    found = growing.filled(page, tabulate)
    assert "stale" not in found
    order = ("2,300 MB", "\nB\n", "a byte", "\nC\n", "HNSW", "\nD\n")
    assert sorted(order, key=found.index) == list(order)
    assert growing.filled(found, tabulate) == found


def test_smaller_vectors_stay_near_the_true_ones() -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    near = quantisation.scalar(vectors)
    assert np.abs(near - vectors).max() <= np.ptp(vectors, axis=0).max() / 255
    coarse = quantisation.product(vectors, 2, seed=0)
    assert coarse.shape == vectors.shape
    assert 0 < np.abs(coarse - vectors).mean() < np.abs(vectors).mean()


def test_what_is_found_of_the_exact_order() -> None:
    best = np.arange(600)[None]
    found = best.copy()
    found[0, :10], found[0, 20:30] = best[0, 20:30], best[0, :10]
    assert list(quantisation.lost(best, found).values()) == [0.0, 1.0, 1.0]
