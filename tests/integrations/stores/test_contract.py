"""What every vector store promises, held by each of them on the same rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import (
    FitConfig,
    InstructRetriever,
    MetadataGuide,
    TransformStore,
    carry_over,
)
from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    EmptyCollectionError,
    InvalidVectorsError,
)
from instruct_embeddings.protocols import Rows, VectorCollection
from instruct_embeddings.retrieval import sample_rows
from instruct_embeddings.testing import InMemoryCollection
from tests.integrations.stores.conftest import MakeEngine
from tests.integrations.stores.engines import Engine

COLOURS = ("red", "green", "blue")
SPACES: list[Space] = ["cosine", "ip", "l2"]
ROWS, DIMENSION = 200, 8


def vectors_of(rows: int, dimension: int = DIMENSION) -> FloatArray:
    return np.random.default_rng(5).standard_normal((rows, dimension)).astype(np.float32)


def metadata_of(row: int) -> dict[str, Any]:
    """Every fifth row has no colour."""
    colour = {} if row % 5 == 4 else {"colour": COLOURS[row % 3]}
    return {"n": row, "half": row / 2, "even": row % 2 == 0} | colour


def filled(make_engine: MakeEngine, space: Space = "cosine", rows: int = ROWS) -> Engine:
    engine = make_engine(space, DIMENSION)
    engine.put(
        [str(row) for row in range(rows)],
        vectors_of(rows),
        [f"text {row} with an {'even' if row % 2 == 0 else 'odd'} number" for row in range(rows)],
        [metadata_of(row) for row in range(rows)],
    )
    return engine


def scanned(collection: VectorCollection, **options: Any) -> Rows:
    return Rows.joined(list(collection.scan(**options)))


def numbers(ids: tuple[str, ...]) -> list[int]:
    return [int(row) for row in ids]


def check(rows: Rows) -> None:
    """Fields of one row stand at one position."""
    kept = numbers(rows.ids)
    np.testing.assert_allclose(_units(rows.vectors), _units(vectors_of(ROWS)[kept]), atol=1e-5)
    assert [metadata["n"] for metadata in rows.metadatas] == kept
    assert [int((text or "").split()[1]) for text in rows.texts] == kept


def _units(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_identity_survives_opening_and_changes_when_it_is_made_anew(
    make_engine: MakeEngine,
) -> None:
    engine = filled(make_engine, "l2")
    first = engine.collection.info()
    assert (first.dimension, first.space) == (DIMENSION, "l2")
    engine.delete(["0"])
    assert engine.reopened().info() == first
    engine.make()
    engine.put(["1"], vectors_of(1), ["text 1"], [{"n": 1}])
    assert engine.reopened().info().fingerprint != first.fingerprint
    assert engine.collection.info() != first


def test_nothing_stored_is_said(make_engine: MakeEngine) -> None:
    engine = make_engine("cosine", DIMENSION)
    with pytest.raises(EmptyCollectionError, match=r"holds (0|no) vector"):
        engine.collection.info()
    assert engine.collection.count() == 0
    assert len(engine.collection.sample(10, seed=0)) == len(scanned(engine.collection)) == 0


def test_scans_bring_each_row_once_in_one_order(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    rows = scanned(collection, vectors=True, records=True)
    assert sorted(numbers(rows.ids)) == list(range(ROWS))
    assert collection.count() == ROWS
    check(rows)
    assert scanned(collection).ids == rows.ids
    assert (scanned(collection).vectors.size, scanned(collection).texts) == (0, ())


def test_long_scans_survive_deletions(make_engine: MakeEngine) -> None:
    engine = filled(make_engine, rows=4100)
    pages = engine.collection.scan()
    first = next(pages)
    gone = set(first.ids[:300])
    engine.delete(list(gone))
    rest = [row for page in pages for row in page.ids]
    assert len(first) + len(rest) == len({*first.ids, *rest}) == 4100


def test_samples_are_repeatable_distinct_and_whole_where_there_are_few(
    make_engine: MakeEngine,
) -> None:
    collection = filled(make_engine).collection
    rows = collection.sample(80, seed=1)
    assert len(set(rows.ids)) == 80
    check(rows)
    assert collection.sample(80, seed=1).ids == rows.ids
    assert set(collection.sample(80, seed=2).ids) != set(rows.ids)
    assert set(collection.sample(ROWS, seed=3).ids) == {str(row) for row in range(ROWS)}
    assert len(sample_rows(collection, 80, seed=1)) == 80


def test_samples_reach_every_row(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    seen = {row for seed in range(40) for row in collection.sample(60, seed=seed).ids}
    assert len(seen) == ROWS


def test_fetches_keep_the_order_asked(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    rows = collection.fetch(["9", "gone", "3", "100", "3"], vectors=True, records=True)
    assert rows.ids == ("9", "3", "100", "3")
    check(rows)
    assert len(collection.fetch([])) == 0


def test_the_state_tells_of_rows_that_came_or_went(make_engine: MakeEngine) -> None:
    engine = filled(make_engine)
    states = [engine.collection.state()]
    assert engine.collection.state() == states[0]
    engine.delete(["7"])
    states.append(engine.collection.state())
    engine.put(["9001"], vectors_of(1), [None], [{"n": 1}])
    states.append(engine.collection.state())
    assert len(set(states)) == 3


@pytest.mark.parametrize("space", SPACES)
def test_searches_score_by_the_space(make_engine: MakeEngine, space: Space) -> None:
    collection = filled(make_engine, space).collection
    query, vectors = vectors_of(1)[0] + np.float32(0.1), vectors_of(ROWS)
    expected = {
        "cosine": _units(vectors) @ (query / np.linalg.norm(query)),
        "ip": vectors @ query,
        "l2": -np.square(vectors - query).sum(axis=1),
    }[space]
    found = collection.search(query, k=20, vectors=True)
    assert numbers(found.ids) == np.argsort(-expected)[:20].tolist()
    np.testing.assert_allclose(found.scores, np.sort(expected)[::-1][:20], atol=1e-4)
    np.testing.assert_allclose(
        _units(found.vectors), _units(vectors[numbers(found.ids)]), atol=1e-5
    )
    bare = collection.search(query, k=20).rows
    assert (bare.vectors.size, bare.texts, bare.metadatas) == (0, (), ())
    check(collection.search(query, k=20, vectors=True, records=True).rows)
    told = collection.search(query, k=20, records=True).rows
    assert told.vectors.size == 0
    assert [metadata["n"] for metadata in told.metadatas] == numbers(told.ids)
    assert len(collection.search(query, k=5 * ROWS)) == ROWS
    # Looking further changes what is found, not how much of it comes, nor what comes along.
    far = collection.search(query, k=20, candidates=200, vectors=True, records=True)
    assert far.ids == found.ids
    np.testing.assert_allclose(far.scores, found.scores, atol=1e-6)
    check(far.rows)


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"colour": "red"}, lambda m: m.get("colour") == "red"),
    ({"n": 7}, lambda m: m["n"] == 7),
    ({"half": {"$eq": 3.5}}, lambda m: m["half"] == 3.5),
    ({"even": True}, lambda m: m["even"]),
    ({"n": {"$gt": 150}}, lambda m: m["n"] > 150),
    ({"n": {"$gte": 150}}, lambda m: m["n"] >= 150),
    ({"half": {"$lt": 10.5}}, lambda m: m["half"] < 10.5),
    ({"half": {"$lte": 10.5}}, lambda m: m["half"] <= 10.5),
    ({"colour": {"$in": ["red", "blue"]}}, lambda m: m.get("colour") in ("red", "blue")),
    ({"missing": 1}, lambda m: False),
    ({"missing": {"$gt": 1}}, lambda m: False),
    ({"missing": {"$in": [1]}}, lambda m: False),
    # A row that lacks the key passes what says that it is not so.
    ({"colour": {"$ne": "red"}}, lambda m: m.get("colour") != "red"),
    ({"colour": {"$nin": ["red", "blue"]}}, lambda m: m.get("colour") not in ("red", "blue")),
    ({"missing": {"$ne": 1}}, lambda m: True),
    ({"missing": {"$nin": [1]}}, lambda m: True),
    # Of several tests in one mapping all must hold.
    (
        {"colour": "red", "n": {"$gt": 9, "$lt": 99}},
        lambda m: (m.get("colour"), 9 < m["n"] < 99) == ("red", True),
    ),
    (
        {"$and": [{"colour": "red"}, {"$or": [{"n": {"$lt": 9}}, {"n": {"$gt": 190}}]}]},
        lambda m: m.get("colour") == "red" and not 9 <= m["n"] <= 190,
    ),
]


@pytest.mark.parametrize(("where", "passes"), FILTERS, ids=[str(where) for where, _ in FILTERS])
def test_filters_mean_the_same(make_engine: MakeEngine, where: dict[str, Any], passes: Any) -> None:
    collection = filled(make_engine).collection
    expected = {str(row) for row in range(ROWS) if passes(metadata_of(row))}
    assert set(scanned(collection, where=where).ids) == expected
    assert set(collection.search(vectors_of(1)[0], k=ROWS, where=where).ids) == expected


MALFORMED = [
    ({"n": {"$near": 1}}, r"Unknown filter operator '\$near'"),
    ({"$not": []}, r"Unknown filter operator '\$not'"),
    ({"n": {"$gt": "a"}}, "compares numbers, got 'a'"),
    ({"n": {"$gt": True}}, "compares numbers, got True"),
    ({"n": {"$gt": float("nan")}}, "compares numbers, got nan"),
    ({"n": None}, "compares with None"),
    ({"n": {}}, "is empty"),
    ({"n": {"$in": "abc"}}, "takes a list"),
    ({"$and": []}, "takes a list of filters"),
    ({"$or": [1]}, "takes a list of filters"),
    ("n = 1", "must be a mapping"),
]


def test_malformed_filters_are_refused_alike(make_engine: MakeEngine) -> None:
    collection = filled(make_engine, rows=2).collection
    for where, message in MALFORMED:
        for ask in (
            lambda where=where: collection.search(vectors_of(1)[0], k=1, where=where),
            lambda where=where: scanned(collection, where=where),
        ):
            with pytest.raises(ConfigError, match=message):
                ask()


def test_filters_of_texts(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    if not collection.capabilities.text_filters:
        pytest.skip("does not look into texts")
    for where, passes in (
        ({"$contains": "odd"}, lambda n: n % 2),
        ({"$not_contains": "odd"}, lambda n: n % 2 == 0),
        (
            {"$and": [{"$contains": "odd"}, {"$contains": "text 1"}]},
            lambda n: n % 2 and str(n)[0] == "1",
        ),
        ({"$or": [{"$contains": "text 17 "}, {"$contains": "text 18 "}]}, lambda n: n in (17, 18)),
    ):
        expected = {str(row) for row in range(ROWS) if passes(row)}
        assert set(scanned(collection, where_document=where).ids) == expected
        query = vectors_of(1)[0]
        assert set(collection.search(query, k=ROWS, where_document=where).ids) == expected
    both = scanned(collection, where={"n": {"$lt": 10}}, where_document={"$contains": "odd"})
    assert sorted(numbers(both.ids)) == [1, 3, 5, 7, 9]


def test_filters_of_the_store_itself_pass_through(make_engine: MakeEngine) -> None:
    engine = filled(make_engine)
    if engine.native is None:  # the language is that of the store
        with pytest.raises(ConfigError, match=r"\$native"):
            scanned(engine.collection, where={"$native": {"n": {"$lt": 9}}})
        return
    where = {"$and": [{"$native": engine.native}, {"even": True}]}
    assert sorted(numbers(scanned(engine.collection, where=where).ids)) == [0, 2, 4, 6, 8]
    found = engine.collection.search(vectors_of(1)[0], k=ROWS, where={"$native": engine.native})
    assert sorted(numbers(found.ids)) == list(range(9))


def test_what_the_store_can_do_is_declared(make_engine: MakeEngine) -> None:
    engine = filled(make_engine)
    assert engine.collection.capabilities.vectors
    assert engine.collection.capabilities.listing
    if engine.collection.capabilities.text_filters:
        assert len(scanned(engine.collection, where_document={"$contains": "odd"})) == ROWS / 2
        return
    with pytest.raises(ConfigError, match="where_document"):
        scanned(engine.collection, where_document={"$contains": "odd"})


def test_empty_filters_mean_none(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    assert len(scanned(collection, where={}, where_document={})) == ROWS


def test_bad_queries_are_refused(make_engine: MakeEngine) -> None:
    collection = filled(make_engine).collection
    with pytest.raises(CollectionMismatchError, match=r"(?s)3.*8|8.*3"):
        collection.search(np.ones(3, np.float32), k=5)
    if not isinstance(collection, InMemoryCollection):  # which searches by what it is given
        for query in (
            np.ones((1, DIMENSION)),
            np.full(DIMENSION, np.nan),
            np.full(DIMENSION, np.inf),
        ):
            with pytest.raises(InvalidVectorsError, match="NaN or infinite"):
                collection.search(query.astype(np.float32), k=5)
    with pytest.raises(ConfigError, match="k must be"):
        collection.search(vectors_of(1)[0], k=0)


def test_rows_without_text_or_metadata(make_engine: MakeEngine) -> None:
    engine = make_engine("cosine", DIMENSION)
    engine.put(["7"], vectors_of(1), [None], [None])
    rows = scanned(engine.collection, records=True)
    assert (rows.texts, rows.metadatas) == ((None,), ({},))


def test_an_instruction_is_learned_found_again_and_not_mistaken(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 3, 300)
    vectors = rng.standard_normal((300, 16)).astype(np.float32)
    vectors[np.arange(300), colours] += 2
    engine = make_engine("cosine", 16)

    def rows_of() -> tuple[list[str], FloatArray, list[str], list[dict[str, str]]]:
        texts = [f"a {COLOURS[c]} thing" for c in colours]
        return ids, vectors, texts, [{"colour": COLOURS[c]} for c in colours]

    ids = [str(row) for row in range(300)]

    def retriever(collection: VectorCollection) -> InstructRetriever:
        guide = MetadataGuide("colour")
        return InstructRetriever(
            collection, guide, store=TransformStore(tmp_path), fit=FitConfig(sample_size=300)
        )

    engine.put(*rows_of())
    query = vectors[0]
    first = retriever(engine.collection)
    hits = first.search(query, instruction="What colour is it?", k=10)
    same = [COLOURS[colours[0]] == hit.metadata["colour"] for hit in hits]
    assert np.mean(same) >= 0.8
    exact = first.search(query, instruction="What colour is it?", k=10, exact=True)
    assert len({hit.id for hit in exact} & {hit.id for hit in hits}) >= 9
    again = retriever(engine.reopened())
    assert [h.id for h in again.search(query, instruction="What colour is it?", k=10)] == [
        hit.id for hit in hits
    ]
    assert len(TransformStore(tmp_path).keys()) == 1
    engine.make()
    engine.put(*rows_of())
    anew = retriever(engine.collection)
    engine_hits = anew.search(query, instruction="What colour is it?", k=10)
    assert len(TransformStore(tmp_path).keys()) == 2
    names, rows, texts, metadatas = rows_of()
    copied = InMemoryCollection(rows, ids=names, texts=texts, metadatas=metadatas, id="copied")
    assert len(carry_over(TransformStore(tmp_path), copied, engine.collection)) == 0
    assert len(carry_over(TransformStore(tmp_path), engine.collection, copied)) == 1
    moved = InstructRetriever(copied, store=TransformStore(tmp_path))
    assert [h.id for h in moved.search(query, instruction="What colour is it?", k=5)] == [
        hit.id for hit in engine_hits[:5]
    ]
