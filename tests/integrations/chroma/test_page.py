from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chromadb import Collection

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import ConfigError

Make = Callable[..., Any]

SEVEN = [[float(row), 1.0] for row in range(7)]


def test_pages_follow_the_order_of_insertion(make: Make) -> None:
    vectors = ChromaVectors(make(SEVEN))
    assert vectors.page(limit=3, offset=0).ids == ("id0", "id1", "id2")
    assert vectors.page(limit=3, offset=3).ids == ("id3", "id4", "id5")
    assert vectors.page(limit=3, offset=6).ids == ("id6",)
    assert vectors.page(limit=3, offset=7).ids == ()


def test_updated_rows_keep_their_place_and_readded_rows_move_to_the_end(make: Make) -> None:
    collection = make(SEVEN[:3])
    collection.update(ids=["id1"], embeddings=[[9.0, 9.0]])
    collection.delete(ids=["id0"])
    collection.add(ids=["id0"], embeddings=[[5.0, 5.0]])
    page = ChromaVectors(collection).page(limit=9, offset=0, vectors=True)
    assert page.ids == ("id1", "id2", "id0")
    np.testing.assert_allclose(page.vectors, [[9, 9], [2, 1], [5, 5]], rtol=1e-6)


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 7, 100])
def test_a_page_longer_than_a_request_is_read_in_several(make: Make, page_size: int) -> None:
    vectors = ChromaVectors(
        make(SEVEN, space="l2", documents=[f"text {row}" for row in range(7)]),
        page_size=page_size,
    )
    page = vectors.page(limit=5, offset=1, vectors=True, records=True)
    assert page.ids == ("id1", "id2", "id3", "id4", "id5")
    assert page.texts == ("text 1", "text 2", "text 3", "text 4", "text 5")
    assert page.metadatas == ({}, {}, {}, {}, {})
    np.testing.assert_array_equal(page.vectors, SEVEN[1:6])


def test_no_request_is_longer_than_the_page_size(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = ChromaVectors(make(SEVEN), page_size=3)
    limits: list[int] = []
    get = Collection.get

    def counted(self: Collection, **criteria: int) -> object:
        limits.append(criteria["limit"])
        return get(self, **criteria)  # type: ignore[arg-type]

    monkeypatch.setattr(Collection, "get", counted)
    assert len(vectors.page(limit=1000, offset=0)) == 7
    assert limits == [3, 3, 3]


def test_vectors_are_float32(make: Make) -> None:
    page = ChromaVectors(make(SEVEN)).page(limit=2, offset=0, vectors=True)
    assert page.vectors.dtype == np.dtype(np.float32)
    assert page.vectors.shape == (2, 2)


def test_only_what_is_asked_for_comes(make: Make) -> None:
    vectors = ChromaVectors(make(SEVEN, documents=["text"] * 7))
    bare = vectors.page(limit=2, offset=0)
    assert (bare.vectors.shape, bare.texts, bare.metadatas) == ((0, 0), (), ())
    records = vectors.page(limit=2, offset=0, records=True)
    assert (records.vectors.shape, records.texts) == ((0, 0), ("text", "text"))
    only = vectors.page(limit=2, offset=0, vectors=True)
    assert (only.vectors.shape, only.texts) == ((2, 2), ())


def test_rows_without_text_or_metadata(make: Make) -> None:
    collection = make(SEVEN[:1])
    collection.add(ids=["full"], embeddings=[SEVEN[1]], documents=["t"], metadatas=[{"n": 1}])
    page = ChromaVectors(collection).page(limit=9, offset=0, records=True)
    assert page.texts == (None, "t")
    assert page.metadatas == ({}, {"n": 1})


def test_filters(make: Make) -> None:
    vectors = ChromaVectors(
        make(
            SEVEN,
            documents=[f"text {'odd' if row % 2 else 'even'}" for row in range(7)],
            metadatas=[{"third": row % 3 == 0} for row in range(7)],
        ),
        page_size=2,
    )
    assert vectors.page(limit=9, offset=0, where={"third": True}).ids == ("id0", "id3", "id6")
    odd = {"$contains": "odd"}
    assert vectors.page(limit=9, offset=1, where_document=odd).ids == ("id3", "id5")
    both = vectors.page(limit=9, offset=0, where={"third": True}, where_document=odd)
    assert both.ids == ("id3",)
    assert len(vectors.page(limit=9, offset=0, where={}, where_document={})) == 7


def test_a_page_without_rows_still_has_the_dimension(make: Make) -> None:
    vectors = ChromaVectors(make(SEVEN, metadatas=[{"n": 1}] * 7))
    for page in (
        vectors.page(limit=9, offset=7, vectors=True),
        vectors.page(limit=0, offset=0, vectors=True),
        vectors.page(limit=9, offset=0, where={"n": 2}, vectors=True),
    ):
        assert (page.ids, page.vectors.shape) == ((), (0, 2))


def test_an_empty_collection_has_an_empty_page(make: Make) -> None:
    page = ChromaVectors(make()).page(limit=9, offset=0, vectors=True, records=True)
    assert (page.ids, page.vectors.shape, page.texts, page.metadatas) == ((), (0, 0), (), ())


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (1, -1)])
def test_negative_limits_are_refused(make: Make, limit: int, offset: int) -> None:
    with pytest.raises(ConfigError, match=r" must be an integer >= 0.*, got -1"):
        ChromaVectors(make(SEVEN)).page(limit=limit, offset=offset)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_zero_vectors_come_back_as_they_are_stored(make: Make, space: str) -> None:
    page = ChromaVectors(make([[3.0, 4.0], [0.0, 0.0]], space=space)).page(
        limit=9, offset=0, vectors=True
    )
    np.testing.assert_allclose(page.vectors, [[3, 4], [0, 0]], rtol=1e-6)


def test_more_rows_than_sql_takes_variables(many: Collection) -> None:
    page = ChromaVectors(many).page(limit=many.count(), offset=0, vectors=True, records=True)
    assert len(page) == many.count() > 33_000
    np.testing.assert_array_equal(page.vectors[:, 0], np.arange(many.count()))
