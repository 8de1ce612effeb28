"""How far the index looks, and answers that are short only where no more rows pass."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.adapters import Asked
from postgres_instruct_embeddings import PostgresVectors
from postgres_instruct_embeddings.statements import looking, sampled
from postgres_instruct_embeddings.table import Table
from tests.integrations.postgres.conftest import Execute, Open

ROWS, DIMENSION = 3000, 16


@pytest.fixture
def vectors() -> FloatArray:
    found = np.random.default_rng(1).standard_normal((ROWS, DIMENSION))
    return found.astype(np.float32)


@pytest.fixture
def large(
    filled: Callable[..., str], execute: Execute, opened: Open, vectors: FloatArray, address: str
) -> PostgresVectors:
    """A table whose index is used, as that of a much larger one would be."""
    filled(vectors)
    return opened(source=f"{address}&options=-cenable_seqscan%3Doff%20-cenable_sort%3Doff")


def nearest(vectors: FloatArray, query: FloatArray) -> list[str]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [f"r{row}" for row in np.argsort(-(units @ query))]


@pytest.mark.parametrize(("k", "recall"), [(10, 0.98), (300, 0.98), (1500, 0.95)])
def test_the_index_finds_as_many_as_are_wanted(
    large: PostgresVectors, vectors: FloatArray, k: int, recall: float
) -> None:
    shares = []
    for query in np.random.default_rng(2).standard_normal((10, DIMENSION)).astype(np.float32):
        found = large.search(query, k=k, vectors=True)
        assert len(found) == len(set(found.ids)) == k
        assert (np.diff(found.scores) <= 0).all()
        np.testing.assert_array_equal(found.vectors, vectors[[int(row[1:]) for row in found.ids]])
        shares.append(len(set(found.ids) & set(nearest(vectors, query)[:k])) / k)
    assert np.mean(shares) >= recall


@pytest.mark.parametrize("passing", [3, 40, 1500])
def test_filters_that_let_few_rows_pass_leave_nothing_out(
    large: PostgresVectors, vectors: FloatArray, passing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postgres_instruct_embeddings.statements._SCANNED", 200)
    query = vectors[5]
    found = large.search(query, k=30, where={"n": {"$lt": passing}})
    best = [row for row in nearest(vectors, query) if int(row[1:]) < passing][:30]
    assert len(found) == len(best)
    assert len(set(found.ids) & set(best)) >= 0.9 * len(best)


def test_the_index_is_told_how_far_to_look() -> None:
    def settings(index: str | None, k: int, lists: int = 0) -> str:
        table = Table("", 2, "cosine", "text", "vector", index, lists, 0)
        return looking(table, k, Asked().depth(k)).as_string(None)

    assert "'hnsw.ef_search', '100'" in settings("hnsw", 10)
    assert "'hnsw.ef_search', '600'" in settings("hnsw", 300)
    assert "'hnsw.ef_search', '1000'" in settings("hnsw", 3000)
    assert "'hnsw.max_scan_tuples', '80000'" in settings("hnsw", 20_000)
    assert "'ivfflat.probes', '64'" in settings("ivfflat", 10, lists=1000)
    assert "'ivfflat.probes', '4'" in settings("ivfflat", 10, lists=4)
    assert "hnsw" not in settings(None, 10)


def test_a_part_of_a_very_large_table_is_looked_at_for_a_sample(
    large: PostgresVectors, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [part.as_string(None) for part in sampled(1e7, 5000, 3)] == [
        "TABLESAMPLE SYSTEM (1.0) REPEATABLE (3)",
        "",
    ]
    monkeypatch.setattr("postgres_instruct_embeddings.statements._LARGE", 1000)
    for surplus in (3, 0.01):  # the second time too few rows are found
        monkeypatch.setattr("postgres_instruct_embeddings.statements._SURPLUS", surplus)
        rows = large.sample(300, seed=4)
        assert len(set(rows.ids)) == 300
        assert rows.ids == large.sample(300, seed=4).ids
        assert rows.ids != large.sample(300, seed=5).ids


def test_vectors_without_direction_are_not_found_by_cosine(
    filled: Callable[..., str], opened: Open
) -> None:
    filled([[1, 0], [0, 0], [0, 1]])
    found = opened().search(np.array([1, 0], np.float32), k=3)
    assert found.ids == ("r0", "r2")
    assert np.isfinite(found.scores).all()


def test_threads_share_it(large: PostgresVectors, vectors: FloatArray) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: large.search(vectors[row], k=5).ids[0], range(40)))
    assert found == [f"r{row}" for row in range(40)]


def test_the_state_tells_of_updates_in_place(
    filled: Callable[..., str], execute: Execute, opened: Open
) -> None:
    table = filled([[1, 0], [0, 1]])
    before = opened().state()
    execute(f"UPDATE {table} SET embedding = '[5,5]' WHERE id = 'r0'")
    assert opened().state() != before
