import numpy as np
import pytest

from instruct_embeddings.errors import CollectionMismatchError, ConfigError, EmptyCollectionError
from instruct_embeddings.evaluation.arrays import ArrayCollection

EAST, NORTH, HALFWAY = [2.0, 0.0], [0.0, 1.0], [0.6, 0.8]


@pytest.fixture
def collection() -> ArrayCollection:
    return ArrayCollection(["e", "n", "h"], [EAST, NORTH, HALFWAY], ["to the east", None, "both"])


def test_rows_are_found_by_cosine_best_first(collection: ArrayCollection) -> None:
    found = collection.search(np.array([0, 5], dtype=np.float32), k=2)
    assert found.ids == ("n", "h")
    np.testing.assert_allclose(found.scores, [1, 0.8], rtol=1e-6)


def test_as_many_rows_are_found_as_there_are(collection: ArrayCollection) -> None:
    assert collection.search(np.array([1, 0], dtype=np.float32), k=9).ids == ("e", "h", "n")


def test_pages_hold_what_is_asked_for(collection: ArrayCollection) -> None:
    plain = collection.page(limit=2, offset=1)
    assert (plain.ids, plain.vectors.size, plain.texts) == (("n", "h"), 0, ())
    full = collection.page(limit=9, offset=0, vectors=True, records=True)
    np.testing.assert_allclose(full.vectors, [[1, 0], [0, 1], [0.6, 0.8]], rtol=1e-6)
    assert full.texts == ("to the east", None, "both")
    assert full.metadatas == ({}, {}, {})
    assert len(collection.page(limit=5, offset=3)) == 0


def test_rows_come_in_the_order_asked(collection: ArrayCollection) -> None:
    assert collection.fetch(["h", "gone", "e"], records=True).texts == ("both", "to the east")
    np.testing.assert_allclose(collection[["n", "e"]], [[0, 1], [1, 0]])


def test_it_knows_its_size(collection: ArrayCollection) -> None:
    assert collection.count() == 3
    assert (collection.info().dimension, collection.info().space) == (2, "cosine")


def test_queries_have_the_dimension_of_the_rows(collection: ArrayCollection) -> None:
    with pytest.raises(CollectionMismatchError, match="3 dimensions does not fit vectors of 2"):
        collection.search(np.ones(3, dtype=np.float32), k=1)


def test_filters_are_refused_rather_than_ignored(collection: ArrayCollection) -> None:
    with pytest.raises(ConfigError, match="no metadata to filter by"):
        collection.page(limit=1, offset=0, where={"a": 1})
    with pytest.raises(ConfigError, match="no metadata to filter by"):
        collection.search(np.ones(2, dtype=np.float32), k=1, where_document={"$contains": "x"})


@pytest.mark.parametrize(
    ("ids", "texts"), [(["a"], None), (["a", "a"], None), (["a", "b"], ["one"])]
)
def test_each_row_has_one_of_each(ids: list[str], texts: list[str] | None) -> None:
    with pytest.raises(ConfigError, match="one of each for every row"):
        ArrayCollection(ids, [EAST, NORTH], texts)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(EmptyCollectionError, match="no text to search"):
        ArrayCollection([], np.empty((0, 2)))
