from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from chromadb import Collection

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    InvalidVectorsError,
)

Make = Callable[..., Any]


def vector(*numbers: float) -> FloatArray:
    return np.array(numbers, dtype=np.float32)


@pytest.mark.parametrize(
    ("space", "ids", "scores"),
    [
        # the cosine, the inner product, minus the squared distance to (2, 0)
        ("cosine", ("east", "both", "north"), [1.0, 0.6, 0.0]),
        ("ip", ("both", "east", "north"), [6.0, 2.0, 0.0]),
        ("l2", ("east", "north", "both"), [-1.0, -5.0, -17.0]),
    ],
)
def test_scores_are_similarities_in_the_space_of_the_collection(
    make: Make, space: str, ids: tuple[str, ...], scores: list[float]
) -> None:
    stored = [[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]
    collection = make(stored, ids=["east", "north", "both"], space=space)
    found = ChromaVectors(collection).search(vector(2, 0), k=3)
    assert found.ids == ids
    assert found.scores.dtype == np.dtype(np.float32)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_k_above_the_count_gives_all_rows(make: Make) -> None:
    found = ChromaVectors(make([[1.0, 0.0], [0.0, 1.0]])).search(vector(1, 0), k=1000)
    assert (found.ids, found.scores.shape) == (("id0", "id1"), (2,))


def test_a_huge_k_takes_no_room(make: Make) -> None:
    vectors = ChromaVectors(make([[1.0, 0.0], [0.0, 1.0]]))
    assert vectors.search(vector(1, 0), k=500_000_000).ids == ("id0", "id1")
    assert len(ChromaVectors(make()).search(vector(1, 0), k=10**30)) == 0


def test_vectors_come_with_the_search(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same request."""
    asked: list[str] = []
    for method in ("query", "get"):
        monkeypatch.setattr(Collection, method, _noted(getattr(Collection, method), method, asked))
    stored = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    vectors = ChromaVectors(make(stored))
    found = vectors.search(vector(0, 1), k=3, vectors=True)
    assert found.ids == ("id1", "id2", "id0")
    np.testing.assert_allclose(found.vectors, [stored[1], stored[2], stored[0]], atol=1e-6)
    assert asked == ["query"]
    assert not len(ChromaVectors(make()).search(vector(0, 1), k=3, vectors=True))


def _noted(real: Callable[..., Any], name: str, calls: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        return real(*arguments, **options)

    return call


@pytest.mark.parametrize("k", ["3", None, 2.0, True])
def test_k_is_a_whole_number(make: Make, k: Any) -> None:
    with pytest.raises(ConfigError, match="must be an integer >= 1"):
        ChromaVectors(make([[1.0, 0.0]])).search(vector(1, 0), k=k)


def test_k_may_be_a_numpy_number(make: Make) -> None:
    k = np.array([1])[0]
    assert len(ChromaVectors(make([[1.0, 0.0], [0.0, 1.0]])).search(vector(1, 0), k=k)) == 1


def test_filters(make: Make) -> None:
    vectors = ChromaVectors(
        make(
            [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]],
            documents=["red fox", "red hen", "grey hen"],
            metadatas=[{"legs": 4}, {"legs": 2}, {"legs": 2}],
        )
    )
    query = vector(1, 0)
    hen = {"$contains": "hen"}
    assert vectors.search(query, k=9, where={"legs": 2}).ids == ("id1", "id2")
    assert vectors.search(query, k=9, where_document={"$contains": "red"}).ids == ("id0", "id1")
    assert vectors.search(query, k=1, where={"legs": 2}, where_document=hen).ids == ("id1",)
    assert vectors.search(query, k=9, where={}, where_document={}).ids == ("id0", "id1", "id2")


def test_a_filter_that_matches_nothing_gives_nothing(make: Make) -> None:
    vectors = ChromaVectors(make([[1.0, 0.0]], metadatas=[{"legs": 4}]))
    found = vectors.search(vector(1, 0), k=3, where={"legs": 100})
    assert (found.ids, found.scores.shape) == ((), (0,))


def test_an_empty_collection_gives_nothing(make: Make) -> None:
    assert len(ChromaVectors(make()).search(vector(1, 0), k=3)) == 0


def test_another_dimension_names_both(make: Make) -> None:
    vectors = ChromaVectors(make([[1.0, 0.0]]))
    with pytest.raises(CollectionMismatchError, match=r"has 3 dimensions.*vectors of 2\b"):
        vectors.search(vector(1, 0, 0), k=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(make: Make, bad: float) -> None:
    with pytest.raises(InvalidVectorsError, match="NaN or infinite"):
        ChromaVectors(make([[1.0, 0.0]])).search(vector(bad, 0), k=1)


def test_several_queries_at_once_are_refused(make: Make) -> None:
    with pytest.raises(InvalidVectorsError, match=r"got the shape \(1, 2\)"):
        ChromaVectors(make([[1.0, 0.0]])).search(vector(1, 0)[None], k=1)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(make: Make, k: int) -> None:
    with pytest.raises(ConfigError, match=f"k must be an integer >= 1, got {k}"):
        ChromaVectors(make([[1.0, 0.0]])).search(vector(1, 0), k=k)


def test_a_filter_of_too_many_values_says_so(make: Make) -> None:
    vectors = ChromaVectors(make([[1.0, 0.0]], metadatas=[{"n": 1}]))
    values = {"n": {"$in": list(range(33_000))}}
    with pytest.raises(ConfigError, match="too many values"):
        vectors.search(vector(1, 0), k=1, where=values)
    with pytest.raises(ConfigError, match="too many values"):
        vectors.page(limit=1, offset=0, where=values)


def test_threads_may_share_one_collection(make: Make) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    vectors = ChromaVectors(make(rows.tolist()))
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(lambda row: vectors.search(row, k=1).ids, rows))
    assert found == [(f"id{row}",) for row in range(200)]


def test_chroma_is_asked_for_distances_only_and_never_given_a_text(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    query = Collection.query

    def recorded(self: Collection, **arguments: object) -> object:
        asked.append(arguments)
        return query(self, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Collection, "query", recorded)
    ChromaVectors(make([[1.0, 0.0]], documents=["text"])).search(vector(1, 0), k=1)
    assert [arguments["include"] for arguments in asked] == [["distances"]]
    assert "query_texts" not in asked[0]
