from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import Space
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    EmptyCollectionError,
)
from instruct_embeddings.protocols import CollectionInfo, VectorCollection
from instruct_embeddings.testing import InMemoryCollection, TinyEncoder


def square(**options: Any) -> InMemoryCollection:
    """Four vectors at 0, 90, 180 and 270 degrees; the second is twice as long."""
    return InMemoryCollection(
        [[1, 0], [0, 2], [-1, 0], [0, -1]],
        ids=["east", "north", "west", "south"],
        texts=["sun rises", "cold", None, "warm"],
        metadatas=[{"n": 1}, {"n": 2}, None, {"n": 3}],
        **options,
    )


def test_texts_that_share_words_are_close() -> None:
    embeddings = TinyEncoder().encode(["a red apple", "the red apple", "some blue car", ""])
    assert embeddings.shape == (4, 32)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert embeddings[0] @ embeddings[1] > 0.5 > embeddings[0] @ embeddings[2]


def test_the_tiny_encoder_reports_progress_and_reads_the_instruction() -> None:
    encoder, done = TinyEncoder(), list[int]()
    plain = encoder.encode(["x"], on_batch=done.append)
    assert done == [1]
    assert encoder.encode([]).shape == (0, 32)
    np.testing.assert_array_equal(encoder.encode(["x"], instruction="y"), encoder.encode(["y x"]))
    assert not np.array_equal(encoder.encode(["x"], instruction="y"), plain)
    with pytest.raises(TypeError, match=r"wrap it: \[text\]"):
        encoder.encode("x")


@pytest.mark.parametrize(
    ("space", "expected"),
    [("cosine", [1, 0, 0, -1]), ("ip", [4, 0, 0, -2]), ("l2", [0, -5, -5, -9])],
)
def test_search_scores_by_the_space(space: Space, expected: list[float]) -> None:
    found = square(space=space).search(np.array([0.0, 2.0], dtype=np.float32), k=9)
    assert found.ids == ("north", "east", "west", "south")
    np.testing.assert_allclose(found.scores, expected)


def test_samples_scans_and_fetches_follow_the_protocol() -> None:
    collection: VectorCollection = square()
    assert collection.count() == 4
    assert [page.ids for page in collection.scan()] == [("east", "north", "west", "south")]
    assert collection.sample(9, seed=0).texts == ("sun rises", "cold", None, "warm")
    assert len(collection.sample(2, seed=0).vectors) == 2
    rows = collection.fetch(["south", "gone", "east"], vectors=True, records=True)
    assert rows.ids == ("south", "east")
    assert rows.texts == ("warm", "sun rises")
    assert rows.metadatas == ({"n": 3}, {"n": 1})
    np.testing.assert_array_equal(rows.vectors, [[0, -1], [1, 0]])
    assert next(collection.scan(records=True)).metadatas[2] == {}


def test_pages_begin_at_an_offset_and_end_with_the_rows() -> None:
    assert square().page(limit=3, offset=2).ids == ("west", "south")
    assert len(square().page(limit=3, offset=9)) == 0


def test_the_state_tells_that_rows_came_or_went() -> None:
    collection = square()
    first = collection.state()
    assert collection.state() == first
    collection.delete(["north"])
    assert collection.state() != first
    collection.add(["new"], [[1, 1]])
    assert collection.state() != first
    assert InMemoryCollection().state() == "0"


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"n": 1}, ["east"]),
        ({"n": {"$ne": 1}}, ["north", "west", "south"]),
        ({"n": {"$gte": 2, "$lt": 3}}, ["north"]),
        ({"n": {"$in": [1, 3]}}, ["east", "south"]),
        ({"$or": [{"n": 1}, {"n": 3}]}, ["east", "south"]),
        ({"$and": [{"n": {"$gt": 1}}, {"n": {"$nin": [3]}}]}, ["north"]),
    ],
)
def test_filters(where: dict[str, Any], ids: list[str]) -> None:
    assert square().page(limit=9, offset=0, where=where).ids == tuple(ids)


def test_filters_of_the_text() -> None:
    page = square().page(limit=9, offset=0, where_document={"$contains": "r"})
    assert page.ids == ("east", "south")
    with pytest.raises(ConfigError, match=r"Unknown filter operator '\$near'"):
        square().page(limit=9, offset=0, where={"n": {"$near": 1}})


def test_rows_are_added_replaced_in_place_and_deleted() -> None:
    collection = square()
    collection.add(["north", "new"], [[5, 5], [7, 7]], texts=["changed", "added"])
    assert collection.page(limit=9, offset=0).ids == ("east", "north", "west", "south", "new")
    np.testing.assert_array_equal(collection.fetch(["north"], vectors=True).vectors, [[5, 5]])
    collection.delete(["east", "gone"])
    assert collection.count() == 4
    with pytest.raises(ConfigError, match="Pass equal lengths"):
        collection.add(["a", "b"], [[1, 1]])


def test_identity_and_dimension_are_checked() -> None:
    assert square().info() == CollectionInfo("in-memory", "in-memory-1", 2, "cosine")
    with pytest.raises(EmptyCollectionError, match="holds no vectors"):
        InMemoryCollection().info()
    with pytest.raises(CollectionMismatchError, match="dimension 3"):
        square().search(np.ones(3, dtype=np.float32), k=1)
