import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import EmptyCollectionError, GuideError, InvalidVectorsError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import sample_rows
from instruct_embeddings.testing import InMemoryCollection
from tests.unit.retrieval.conftest import CountingCollection


def numbered(n: int) -> CountingCollection:
    """Row i has the id "i", the vector (i + 1, 1), the text "row i" and the metadata {"i": i}."""
    vectors = np.ones((n, 2), dtype=np.float32)
    vectors[:, 0] += np.arange(n)
    return CountingCollection(
        vectors, texts=[f"row {i}" for i in range(n)], metadatas=[{"i": i} for i in range(n)]
    )


def places(rows: Rows) -> FloatArray:
    return np.array([int(row) for row in rows.ids], dtype=np.float32)


@pytest.fixture(scope="module")
def large() -> CountingCollection:
    return numbered(10_000)


@pytest.mark.parametrize("size", [40, 65, 100, 640, 1000])
def test_every_tenth_of_a_large_collection_has_its_share(
    large: CountingCollection, size: int
) -> None:
    rows = sample_rows(large, size, seed=0)
    assert len(set(rows.ids)) == len(rows) == size
    shares = np.histogram(places(rows), bins=10, range=(0, 10_000))[0] / size
    assert 0.04 < shares.min() <= shares.max() < 0.18


def test_fields_stay_aligned(large: CountingCollection) -> None:
    rows = sample_rows(large, 100, seed=3)
    np.testing.assert_array_equal(rows.vectors[:, 0], places(rows) + 1)
    assert rows.texts == tuple(f"row {row}" for row in rows.ids)
    assert [metadata["i"] for metadata in rows.metadatas] == places(rows).tolist()


def test_the_same_seed_gives_the_same_rows(large: CountingCollection) -> None:
    assert sample_rows(large, 100, seed=1).ids == sample_rows(large, 100, seed=1).ids
    assert sample_rows(large, 100, seed=1).ids != sample_rows(large, 100, seed=2).ids


def test_over_many_seeds_every_region_is_reached() -> None:
    collection = numbered(1000)
    seen = {row for seed in range(60) for row in sample_rows(collection, 100, seed=seed).ids}
    assert len(seen) > 950


def test_a_large_collection_is_read_in_few_places() -> None:
    collection = numbered(10_000)
    sample_rows(collection, 1000, seed=0)
    assert collection.calls["page"] <= 64
    assert collection.handed_out <= 1100


def test_a_very_large_collection_is_read_in_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places get fewer as skipping to them gets dearer; a million rows are only claimed here."""
    collection = numbered(10)
    monkeypatch.setattr(collection, "count", lambda: 1_000_000)
    offsets: list[int] = []

    def page(*, limit: int, offset: int, **options: object) -> Rows:
        offsets.append(offset)
        ids = tuple(str(offset + i) for i in range(limit))
        return Rows(ids, np.ones((limit, 2), np.float32), (None,) * limit, ({},) * limit)

    monkeypatch.setattr(collection, "page", page)
    assert len(sample_rows(collection, 1000, seed=0)) == 1000
    assert len(offsets) == 6
    assert [offset * 6 // 1_000_000 for offset in offsets] == list(range(6))


@pytest.mark.parametrize("n", [1, 50, 100])
def test_a_small_collection_is_taken_whole_in_its_order(n: int) -> None:
    collection = numbered(n)
    rows = sample_rows(collection, 100, seed=0)
    assert places(rows).tolist() == list(range(n))


@pytest.mark.parametrize("n", [101, 150, 399])
def test_a_slightly_larger_one_is_thinned(n: int) -> None:
    rows = sample_rows(numbered(n), 100, seed=0)
    assert len(set(rows.ids)) == 100
    assert (np.diff(places(rows)) > 0).all()
    assert places(rows).min() < 0.1 * n < 0.9 * n < places(rows).max()


def test_ids_of_a_guide_restrict_the_choice() -> None:
    rows = sample_rows(numbered(50), 10, seed=0, ids=["7", "gone", "3"])
    assert rows.ids == ("7", "3")
    assert rows.texts == ("row 7", "row 3")
    many = [str(i) for i in range(40)]
    chosen = sample_rows(numbered(50), 10, seed=0, ids=many)
    assert len(set(chosen.ids)) == 10
    assert set(chosen.ids) <= set(many)
    assert chosen.ids == sample_rows(numbered(50), 10, seed=0, ids=many).ids


def test_vectors_without_direction_are_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collection = InMemoryCollection(
        [[1, 0], [0, 0], [np.nan, 1], [np.inf, 1], [0, 2]], texts=list("abcde")
    )
    with caplog.at_level(logging.WARNING, logger="instruct_embeddings"):
        rows = sample_rows(collection, 10, seed=0)
    assert rows.ids == ("0", "4")
    assert rows.texts == ("a", "e")
    assert "3 of 5 sampled vectors have no direction" in caplog.text


def test_good_vectors_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    sample_rows(numbered(5), 10, seed=0)
    assert caplog.text == ""


def test_no_usable_vector_is_an_error() -> None:
    collection = InMemoryCollection([[0, 0], [np.nan, 1]], name="broken")
    with pytest.raises(InvalidVectorsError, match="All 2 sampled vectors of 'broken'"):
        sample_rows(collection, 10, seed=0)


def test_nothing_to_sample_is_an_error() -> None:
    with pytest.raises(EmptyCollectionError):
        sample_rows(InMemoryCollection(), 10, seed=0)
    with pytest.raises(GuideError, match=r"None of the 1 ids .*\['0', '1', '2'\].*\['gone'\]"):
        sample_rows(numbered(3), 10, seed=0, ids=["gone"])


class Shrinking(CountingCollection):
    """Another process deletes some rows after each of the first pages.

    Attributes:
        doomed: Ids to delete after each page.
    """

    doomed: list[Sequence[str]]

    def page(self, **options: Any) -> Rows:
        rows = super().page(**options)
        if self.doomed:
            self.delete(self.doomed.pop(0))
        return rows


@pytest.mark.parametrize(
    "doomed",
    [
        [["3"]],
        [["1999"]],  # the row that the next page would begin with
        [range(1000, 2000)],
        [range(1, 2000)],  # the next offset is past the end
        [["0"], ["1"], ["2"], range(3, 2500)],
        [[], range(1500, 2500), range(2500, 3900)],
        [range(4100)],
    ],
)
def test_rows_that_move_up_while_pages_are_read_are_not_lost(doomed: list[Sequence[str]]) -> None:
    collection = Shrinking(np.arange(1, 4101)[:, None])
    collection.doomed = [[str(row) for row in rows] for rows in doomed]
    ids = [row for page in collection.scan(vectors=True) for row in page.ids]
    assert len(set(ids)) == len(ids)
    assert set(collection.page(limit=5000, offset=0).ids) <= set(ids)


def test_whole_pages_are_read_once() -> None:
    collection = numbered(4000)
    pages = list(collection.scan(vectors=True, records=True))
    assert [len(page) for page in pages] == [2000, 1999, 1]
    assert collection.handed_out == 4002  # each page begins with the last row of the one before
    rows = Rows.joined(pages)
    np.testing.assert_array_equal(rows.vectors[:, 0], places(rows) + 1)
    assert rows.texts == tuple(f"row {row}" for row in rows.ids)
