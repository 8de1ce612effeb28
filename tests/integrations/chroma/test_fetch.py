from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chromadb import Collection

from chroma_instruct_embeddings import ChromaVectors

Make = Callable[..., Any]

ROWS = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]


@pytest.fixture
def vectors(make: Make) -> ChromaVectors:
    return ChromaVectors(
        make(
            ROWS,
            ids=["a", "b", "c"],
            space="l2",
            documents=["A", "B", "C"],
            metadatas=[{"n": 1}, {"n": 2}, {"n": 3}],
        )
    )


def test_rows_come_in_the_order_asked(vectors: ChromaVectors) -> None:
    rows = vectors.fetch(["c", "a", "b"], vectors=True, records=True)
    assert rows.ids == ("c", "a", "b")
    assert rows.texts == ("C", "A", "B")
    assert rows.metadatas == ({"n": 3}, {"n": 1}, {"n": 2})
    np.testing.assert_array_equal(rows.vectors, [[3, 0], [1, 0], [2, 0]])
    assert rows.vectors.dtype == np.dtype(np.float32)


def test_missing_ids_are_left_out(vectors: ChromaVectors) -> None:
    rows = vectors.fetch(["c", "gone", "a"], vectors=True)
    assert rows.ids == ("c", "a")
    np.testing.assert_array_equal(rows.vectors, [[3, 0], [1, 0]])


def test_repeated_ids_are_repeated(vectors: ChromaVectors) -> None:
    rows = vectors.fetch(["b", "a", "b"], vectors=True)
    assert rows.ids == ("b", "a", "b")
    np.testing.assert_array_equal(rows.vectors, [[2, 0], [1, 0], [2, 0]])


@pytest.mark.parametrize("ids", [["gone", "lost"], []], ids=["all-missing", "none-asked"])
def test_no_rows_still_have_the_dimension(vectors: ChromaVectors, ids: list[str]) -> None:
    rows = vectors.fetch(ids, vectors=True, records=True)
    assert (rows.ids, rows.texts, rows.metadatas) == ((), (), ())
    assert rows.vectors.shape == (0, 2)


def test_nothing_comes_of_an_empty_collection(make: Make) -> None:
    assert ChromaVectors(make()).fetch(["a"], vectors=True).vectors.shape == (0, 0)


def test_only_what_is_asked_for_comes(vectors: ChromaVectors) -> None:
    bare = vectors.fetch(["b", "a"])
    assert (bare.ids, bare.vectors.shape, bare.texts) == (("b", "a"), (0, 0), ())
    records = vectors.fetch(["b", "a"], records=True)
    assert (records.vectors.shape, records.texts) == ((0, 0), ("B", "A"))


def test_the_latest_vector_is_fetched(vectors: ChromaVectors) -> None:
    vectors.collection.update(ids=["a"], embeddings=np.array([[7.0, 7.0]]))
    np.testing.assert_array_equal(vectors.fetch(["a"], vectors=True).vectors, [[7, 7]])


def test_more_ids_than_sql_takes_variables(many: Collection) -> None:
    backwards = [f"id{row}" for row in reversed(range(many.count()))]
    rows = ChromaVectors(many, page_size=10_000).fetch(backwards, vectors=True)
    assert rows.ids == tuple(backwards)
    np.testing.assert_array_equal(rows.vectors[:, 0], np.arange(many.count())[::-1])
