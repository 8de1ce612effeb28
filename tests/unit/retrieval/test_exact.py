import numpy as np
import pytest

from instruct_embeddings._types import Where
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.retrieval.sampling import VectorCopy
from instruct_embeddings.testing import InMemoryCollection
from tests.unit.retrieval.conftest import CountingCollection


@pytest.fixture
def square() -> InMemoryCollection:
    return InMemoryCollection(
        [[1, 0], [0, 1], [-1, 0], [0, -1]],
        texts=["sun", "cold", None, "warm sun"],
        metadatas=[{"n": i} for i in range(4)],
    )


def test_a_copy_holds_all_rows_in_order(square: InMemoryCollection) -> None:
    copy = VectorCopy.read(square)
    assert copy.ids == ("0", "1", "2", "3")
    np.testing.assert_array_equal(copy.vectors, [[1, 0], [0, 1], [-1, 0], [0, -1]])
    assert copy.is_current(square)


def test_a_copy_is_read_page_by_page() -> None:
    collection = CountingCollection(np.arange(1, 4501)[:, None])
    copy = VectorCopy.read(collection)
    assert collection.calls["page"] == 1 + 3  # the last row tells whether new ones come
    assert len(set(copy.ids)) == 4500
    np.testing.assert_array_equal(copy.vectors[:, 0], np.arange(1, 4501))


def test_additions_are_seen(square: InMemoryCollection) -> None:
    copy = VectorCopy.read(square)
    square.add(["new"], [[1, 1]])
    assert not copy.is_current(square)


def test_deletions_are_seen_even_if_as_many_rows_were_added(square: InMemoryCollection) -> None:
    copy = VectorCopy.read(square)
    square.delete(["1"])
    assert not copy.is_current(square)
    square.add(["new"], [[0, 1]])
    assert not copy.is_current(square)


def test_one_of_many_rows_replaced_is_seen() -> None:
    """64 of 1,000 rows are looked at again; the new one is found since it is the last."""
    collection = InMemoryCollection(np.arange(1, 1001)[:, None])
    copy = VectorCopy.read(collection)
    collection.delete(["7"])
    collection.add(["new"], [[7]])
    assert not copy.is_current(collection)


def test_updated_vectors_are_seen(square: InMemoryCollection) -> None:
    copy = VectorCopy.read(square)
    square.add(["2"], [[-1, 0.001]])
    assert not copy.is_current(square)


def test_rounding_and_nan_are_no_change() -> None:
    collection = InMemoryCollection([[1, 0], [np.nan, 1]])
    copy = VectorCopy.read(collection)
    collection.add(["0"], [[1 + 1e-6, 0]])
    assert copy.is_current(collection)


def test_filters_are_those_of_the_collection(square: InMemoryCollection) -> None:
    copy = VectorCopy.read(square)

    def passing(where: Where | None, where_document: Where | None) -> list[str]:
        return [row for page in copy.pages(square, where, where_document) for row in page.ids]

    assert passing(None, None) == ["0", "1", "2", "3"]
    assert passing({"n": {"$gt": 1}}, None) == ["2", "3"]
    assert passing(None, {"$contains": "sun"}) == ["0", "3"]
    assert passing({"n": 3}, {"$contains": "sun"}) == ["3"]


def test_an_empty_collection_cannot_be_copied(square: InMemoryCollection) -> None:
    square.delete(["0", "1", "2", "3"])
    with pytest.raises(EmptyCollectionError, match="is empty"):
        VectorCopy.read(square)
