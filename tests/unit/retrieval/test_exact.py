import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from instruct_embeddings import FitConfig, InstructRetriever, LabelGuide
from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.retrieval import exact
from instruct_embeddings.retrieval.exact import (
    ExactSearch,
    VectorCopy,
    copied_to,
    rank_exactly,
    rank_pages,
)
from instruct_embeddings.retrieval.ranking import FoldedQuery, SearchRequest, WeightedRanker
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys, make_toys
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
        found = copy.passing(square, where, where_document)
        return list(copy.ids if found is None else np.array(copy.ids)[found])

    assert passing(None, None) == ["0", "1", "2", "3"]
    assert passing({"n": {"$gt": 1}}, None) == ["2", "3"]
    assert passing(None, {"$contains": "sun"}) == ["0", "3"]
    assert passing({"n": 3}, {"$contains": "sun"}) == ["3"]


def test_an_empty_collection_cannot_be_copied(square: InMemoryCollection) -> None:
    square.delete(["0", "1", "2", "3"])
    with pytest.raises(EmptyCollectionError, match="is empty"):
        VectorCopy.read(square)
    with pytest.raises(EmptyCollectionError, match="is empty"):
        VectorCopy.write(square, Path("nowhere"))


# Copies on disk.


@pytest.fixture
def many() -> tuple[Toys, InMemoryCollection]:
    """Vectors of several lengths; more than a block, and one without a direction."""
    toys = make_toys(3 * exact._BLOCK + 5, seed=3)
    lengths = np.random.default_rng(0).uniform(0.5, 2.0, (len(toys.vectors), 1))
    vectors = (toys.vectors * lengths).astype(np.float32)
    vectors[7] = 0
    metadatas = [{"shape": shape} for shape in toys.shapes]
    ids = [f"r\u00f6w-{i}" for i in range(len(vectors))]
    return toys, InMemoryCollection(vectors, ids=ids, metadatas=metadatas)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every collection is too large for a copy in memory; the folder of the copies."""
    monkeypatch.setattr(exact, "MAX_COPY_BYTES", 0)
    monkeypatch.setattr(exact, "cache_folder", lambda: tmp_path)
    return tmp_path / "exact"


def fitted(toys: Toys, collection: InMemoryCollection, mix: float) -> InstructionTransform:
    rows = next(iter(collection.scan())).ids
    guide = LabelGuide(dict(zip(rows, toys.colours, strict=False)))
    retriever = InstructRetriever(collection, guide, fit=FitConfig(sample_size=300), force=True)
    return replace(retriever.transform("Which colour?"), mix=mix)


def ranked(transform: InstructionTransform, vector: FloatArray) -> FoldedQuery:
    return FoldedQuery([WeightedRanker(transform, "fitted")], unit_rows(vector[None]))


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("where", [None, {"shape": "ball"}])
def test_a_copy_on_disk_ranks_as_all_pages_do(
    many: tuple[Toys, InMemoryCollection], on_disk: Path, mix: float, where: Where | None
) -> None:
    toys, collection = many
    search, transform = ExactSearch(collection), fitted(toys, collection, mix)
    for vector in toys.vectors[::900]:
        plain = ranked(transform, vector)
        for query in (plain, plain.moved(np.float32(0.3) * toys.vectors[1])):
            wanted = rank_pages(collection.scan(where=where, vectors=True), query, 20)
            found = search.rank(query, SearchRequest(20, where))
            assert found.ids == wanted.ids
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    assert len(list(on_disk.iterdir())) == 1


def test_several_rankers_and_blends_are_bounded_too(
    many: tuple[Toys, InMemoryCollection], on_disk: Path
) -> None:
    toys, collection = many
    transform = fitted(toys, collection, 0.5)
    rankers = [
        WeightedRanker(transform, "fitted", blend=0.5, weight=0.6),
        WeightedRanker(transform, "generic", blend=0.0, weight=0.4),
    ]
    query = FoldedQuery(rankers, unit_rows(toys.vectors[3][None]), 0.8)
    wanted = rank_pages(collection.scan(vectors=True), query, 10)
    assert ExactSearch(collection).rank(query, SearchRequest(10)).ids == wanted.ids


def test_not_all_rows_are_rescored(
    many: tuple[Toys, InMemoryCollection], monkeypatch: pytest.MonkeyPatch
) -> None:
    toys, collection = many
    query = ranked(fitted(toys, collection, 0.3), toys.vectors[0])
    monkeypatch.setattr(exact, "_BLOCK", 64)
    scored, score = [], FoldedQuery.score
    monkeypatch.setattr(
        FoldedQuery,
        "score",
        lambda self, rows: (scored.append(len(rows.vectors)), score(self, rows))[1],
    )
    rank_exactly(VectorCopy.read(collection), collection, query, 5)
    assert sum(scored) < len(toys.vectors) / 2


def test_rows_that_are_equal_keep_their_order(on_disk: Path) -> None:
    collection = InMemoryCollection(np.tile([[0.6, 0.8]], (9000, 1)))
    toys = make_toys(300, seed=0)
    base = InMemoryCollection(toys.vectors[:, :2])
    query = ranked(fitted(toys, base, 0.5), np.array([1.0, 0.0], dtype=np.float32))
    found = ExactSearch(collection).rank(query, SearchRequest(7))
    assert found.ids == tuple(map(str, range(7)))


def test_the_next_process_finds_the_copy_and_changes_are_seen(
    many: tuple[Toys, InMemoryCollection], on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys, collection = many
    query, request = ranked(fitted(toys, collection, 0.0), toys.vectors[0]), SearchRequest(3)
    first = ExactSearch(collection).rank(query, request)
    written: list[Path] = []
    write = VectorCopy.write
    monkeypatch.setattr(
        VectorCopy, "write", lambda given, path: (written.append(path), write(given, path))
    )
    search = ExactSearch(collection)
    assert search.rank(query, request).ids == first.ids
    assert not written
    collection.delete([first.ids[0]])
    assert search.rank(query, request).ids[0] == first.ids[1]
    assert written == [copied_to(collection.info())]
    search.forget()
    assert not copied_to(collection.info()).exists()
    assert search.rank(query, request).ids[0] == first.ids[1]


def test_of_an_empty_collection_nothing_is_forgotten(on_disk: Path) -> None:
    InstructRetriever(InMemoryCollection()).refresh()


def test_the_copy_is_a_safetensors_file_of_unit_rows(
    many: tuple[Toys, InMemoryCollection], on_disk: Path
) -> None:
    _, collection = many
    path = copied_to(collection.info())
    VectorCopy.write(collection, path)
    found, stored = load_file(path), next(iter(collection.scan())).ids
    assert found["vectors"].dtype == np.float16
    assert found["ids"].tobytes().decode().startswith("".join(stored[:5]))
    opened = VectorCopy.open(path)
    assert opened is not None
    assert opened.ids[: len(stored)] == stored
    assert opened.is_current(collection)
    lengths = np.linalg.norm(opened.units(range(20)), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 7), 1, atol=1e-3)
    assert lengths[7] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:3000],
        lambda data: data[:-40],
        lambda data: data.replace(b'"F16"', b'"I64"'),
        lambda data: data.replace(b'"vectors"', b'"weights"'),
        lambda data: b"\xff" * 8 + data[8:],
    ],
)
def test_a_damaged_copy_is_written_again(
    many: tuple[Toys, InMemoryCollection], on_disk: Path, damage: object
) -> None:
    toys, collection = many
    query, request = ranked(fitted(toys, collection, 0.0), toys.vectors[0]), SearchRequest(3)
    first = ExactSearch(collection).rank(query, request)
    path = copied_to(collection.info())
    whole = path.read_bytes()
    path.write_bytes(damage(whole))  # type: ignore[operator]
    assert ExactSearch(collection).rank(query, request).ids == first.ids
    assert path.read_bytes() == whole


def test_where_no_copy_can_be_written_pages_are_read(
    many: tuple[Toys, InMemoryCollection], on_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toys, collection = many
    query = ranked(fitted(toys, collection, 0.3), toys.vectors[0])
    on_disk.write_text("a file where the folder would be")
    with caplog.at_level(logging.WARNING):
        found = ExactSearch(collection).rank(query, SearchRequest(5))
    assert found.ids == rank_pages(collection.scan(vectors=True), query, 5).ids
    assert "No copy for exact searches" in caplog.text
