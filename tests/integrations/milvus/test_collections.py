"""Collections of every kind that is read, and what is said of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from instruct_embeddings.errors import (
    ConfigError,
    UnsupportedCollectionError,
)
from milvus_instruct_embeddings import MilvusVectors
from milvus_instruct_embeddings.collection import Collection, Scalar, what_answers
from milvus_instruct_embeddings.vectors import _looking, _vectors
from tests.integrations.milvus.conftest import THREE, Filled, Open

QUERY = np.array([1, 0], np.float32)
TEXT = {"datatype": DataType.VARCHAR, "max_length": 1000}


def collection(**changes: Any) -> Collection:
    given: dict[str, Any] = {
        "id": "1-vector",
        "key": "id",
        "vector": "vector",
        "kind": "FLOAT_VECTOR",
        "text": "text",
        "metadata": None,
        "scalars": {"id": Scalar("VARCHAR", False)},
        "dynamic": True,
        "dimension": 2,
        "space": "l2",
        "index": "HNSW",
        "lists": 1024,
        "milvus": what_answers("v2.6.1"),
        "read": 0.0,
    }
    return Collection(**(given | changes))


def test_ids_that_are_numbers_under_another_name(filled: Filled, opened: Open) -> None:
    filled(THREE, key="pk", ids=[7, -3, 900])
    vectors = opened()
    none = ["x", "07", "1.0", str(10**30), ""]
    assert vectors.fetch(["7", *none, "-3"]).ids == ("7", "-3")
    assert [page.ids for page in vectors.scan()] == [("-3", "7", "900")]
    assert vectors.search(QUERY, k=3).ids[0] == "7"
    assert len(vectors.sample(2, seed=0)) == 2
    assert opened(id_field="pk").count() == 3


def test_metadata_in_one_json_field(filled: Filled, opened: Open) -> None:
    stored = [{"a": 1, "tags": ["x"]}, {"a": 2.5}, {}]
    rows = [{"meta": data, "body": f"text {i}"} for i, data in enumerate(stored)]
    fields = {"meta": {"datatype": DataType.JSON}, "body": TEXT}
    filled(THREE, fields=fields, rows=rows, dynamic=False)
    vectors = opened(metadata_field="meta", text_field="body")
    found = vectors.fetch(["r0", "r1", "r2"], records=True)
    assert found.metadatas == tuple(stored)
    assert found.texts == ("text 0", "text 1", "text 2")

    def ids(where: Any, **more: Any) -> list[str]:
        return sorted(vectors.search(QUERY, k=3, where=where, **more).ids)

    assert ids({"a": {"$gt": 1}}) == ["r1"]
    assert ids({"a": {"$ne": 1}}) == ["r1", "r2"]
    assert ids({"a": {"$in": [1, 2.5]}}) == ["r0", "r1"]
    assert ids({"a": {"$in": []}}) == []
    assert ids({"a": {"$nin": []}}) == ["r0", "r1", "r2"]
    assert ids({"tags": {"$contains": "x"}}) == ["r0"]
    assert ids({"tags": {"$not_contains": "x"}}) == ["r1", "r2"]
    assert ids(None, where_document={"$contains": "text 2"}) == ["r2"]


def test_fields_of_each_type_are_metadata(filled: Filled, opened: Open) -> None:
    fields: dict[str, dict[str, Any]] = {
        "whole": {"datatype": DataType.INT32},
        "part": {"datatype": DataType.DOUBLE},
        "flag": {"datatype": DataType.BOOL},
        "word": TEXT | {"nullable": True},
        "tags": {
            "datatype": DataType.ARRAY,
            "element_type": DataType.VARCHAR,
            "max_capacity": 5,
            "max_length": 20,
        },
    }
    rows = [
        {"whole": 1, "part": 0.5, "flag": True, "word": "a", "tags": ["x", "y"]},
        {"whole": 2, "part": 1.5, "flag": False, "word": None, "tags": []},
        {"whole": 3, "part": 3.0, "flag": True, "word": "b", "tags": ["y"]},
    ]
    filled(THREE, fields=fields, rows=rows, dynamic=False)
    vectors = opened(text_field=None)
    found = vectors.fetch(["r1", "r0"], records=True)
    assert found.texts == (None, None)
    assert found.metadatas[0] == {"flag": False, "part": 1.5, "tags": [], "whole": 2}
    for where, right in (
        ({"whole": 2}, "1"),
        ({"whole": 2.0}, "1"),
        ({"whole": 2.5}, ""),
        ({"whole": "2"}, ""),
        ({"whole": True}, ""),
        ({"whole": 2**40}, ""),
        ({"whole": {"$ne": 2**40}}, "012"),
        ({"whole": {"$gt": 1.5}}, "12"),
        ({"whole": {"$gte": 1.5}}, "12"),
        ({"whole": {"$lt": 2.5}}, "01"),
        ({"whole": {"$lte": 2.5}}, "01"),
        ({"whole": {"$lt": 2**40}}, "012"),
        ({"whole": {"$gt": 2**40}}, ""),
        ({"part": 3}, "2"),
        ({"part": {"$in": [0.5, 3, "x"]}}, "02"),
        ({"part": {"$nin": [0.5, 3]}}, "1"),
        ({"flag": True}, "02"),
        ({"flag": 1}, ""),
        ({"word": "a"}, "0"),
        ({"word": {"$ne": "a"}}, "12"),
        ({"word": {"$nin": []}}, "012"),
        ({"word": {"$gt": 1}}, ""),
        ({"tags": {"$contains": "y"}}, "02"),
        ({"tags": {"$not_contains": "y"}}, "1"),
        ({"word": {"$contains": "a"}}, ""),
        ({"none": "a"}, ""),
        ({"none": {"$ne": "a"}}, "012"),
    ):
        ids = {row for page in vectors.scan(where=where) for row in page.ids}
        assert ids == {f"r{digit}" for digit in right}, where


def test_texts_that_are_null(filled: Filled, opened: Open) -> None:
    rows: list[dict[str, Any]] = [{"text": "100% sure_"}, {"text": None}, {"text": "100 sure"}]
    filled(THREE, fields={"text": TEXT | {"nullable": True}}, rows=rows)

    def ids(**where: str) -> list[str]:
        asked = {f"${operator}": value for operator, value in where.items()}
        return sorted(opened().search(QUERY, k=3, where_document=asked).ids)

    assert ids(contains="100%") == ["r0"]
    assert ids(contains="_") == ["r0"]
    assert ids(not_contains="100%") == ["r1", "r2"]
    assert ids(contains="") == ["r0", "r1", "r2"]
    assert opened().fetch(["r1"], records=True).texts == (None,)


def test_filters_are_values_never_expressions(filled: Filled, opened: Open) -> None:
    filled(THREE, fields={"text": TEXT})
    vectors = opened()
    for nasty in ('" or id != "', "'", "%", "\\", '\\"', "{x}", "a\nb", "🙂", ") or (1 == 1"):
        assert len(vectors.search(QUERY, k=3, where={nasty: nasty})) == 0
        assert len(vectors.search(QUERY, k=3, where={nasty: {"$ne": nasty}})) == 3
        assert len(vectors.search(QUERY, k=3, where_document={"$contains": nasty})) == 0
        assert len(vectors.fetch([nasty])) == 0


def test_native_filters_join_others(filled: Filled, opened: Open) -> None:
    filled(THREE)
    native = {"$or": [{"$native": "n > 1 or n < 0"}, {"n": 1}]}
    assert set(opened().search(QUERY, k=3, where=native).ids) == {"r1", "r2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id_field": "n", "text_field": None}, "has its ids in 'id', not in 'n'"),
        (
            {"vector_field": "other", "text_field": None},
            r"has 1 fields.*\['vector'\], asked was 'other'.*vector_field='vector'",
        ),
        ({"text_field": "id2"}, r"no texts in 'id2', only \['id', 'vector'\]"),
        ({"text_field": None, "metadata_field": "meta"}, "no metadata in 'meta'"),
    ],
)
def test_fields_that_are_not_there(
    filled: Filled, opened: Open, options: Any, message: str
) -> None:
    filled(THREE, dynamic=False, rows=[{}, {}, {}])
    with pytest.raises(UnsupportedCollectionError, match=message):
        opened(**options).info()


def test_vectors_that_cannot_be_searched(filled: Filled, opened: Open) -> None:
    filled(THREE, index=None)
    with pytest.raises(UnsupportedCollectionError, match=r"has no index.*create_index"):
        opened().info()


def test_a_collection_that_is_not_there(filled: Filled, opened: Open) -> None:
    name = filled(THREE)
    with pytest.raises(UnsupportedCollectionError, match=rf"'nope' is not there.*{name}"):
        opened("nope").info()


def test_an_alias_is_the_collection(lite: MilvusClient, filled: Filled, opened: Open) -> None:
    name = filled(THREE)
    lite.create_alias(name, f"a{name}")
    assert opened(f"a{name}").info() == opened().info()


def test_a_client_sees_what_a_path_sees(lite: MilvusClient, filled: Filled, opened: Open) -> None:
    filled(THREE)
    assert opened(source=lite).info() == opened().info()
    opened(source=lite).close()
    assert lite.list_collections()


def test_nothing_is_made_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCollectionError, match=r"no Milvus Lite at.*new\.db"):
        MilvusVectors.open(f"milvus:{tmp_path / 'new.db'}", "tickets").info()
    (tmp_path / "old.db").write_bytes(b"SQLite format 3\x00")
    with pytest.raises(UnsupportedCollectionError, match="is no folder of Milvus Lite 3"):
        MilvusVectors(tmp_path / "old.db", "tickets").info()
    assert [one.name for one in tmp_path.iterdir()] == ["old.db"]


def test_product_quantisation_is_warned_of(
    filled: Filled, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(THREE)
    monkeypatch.setattr("milvus_instruct_embeddings.vectors.COMPRESSED", ("HNSW",))
    vectors = opened()
    with pytest.warns(UserWarning, match="product quantisation"):
        vectors.info()
    vectors.info()


@pytest.mark.parametrize(
    ("index", "looking"),
    [
        ("HNSW", {"ef": 1200}),
        ("HNSW_SQ", {"ef": 1200}),
        ("AUTOINDEX", {"ef": 1200}),
        ("DISKANN", {"search_list": 1200}),
        ("IVF_FLAT", {"nprobe": 64}),
        ("SCANN", {"nprobe": 64, "reorder_k": 1200}),
        ("FLAT", {}),
    ],
)
def test_indexes_look_further_for_more_rows(index: str, looking: dict[str, int]) -> None:
    assert _looking(collection(index=index), 1200) == looking


def test_halves_are_read_as_float32() -> None:
    wanted = np.array([[0.5, -2.0], [1.0, 3.0]], np.float32)
    halves = [row.astype("<f2").tobytes() for row in wanted]
    found = _vectors(collection(kind="FLOAT16_VECTOR"), halves)
    np.testing.assert_array_equal(found, wanted)
    upper = [(row.view("<u4") >> 16).astype("<u2").tobytes() for row in wanted]
    found = _vectors(collection(kind="BFLOAT16_VECTOR"), [[one] for one in upper])
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("version", "lite", "texts"),
    [
        ("milvus_lite-3.2.2", True, True),
        ("v2.3.5-lite", False, False),
        ("2.4.0", False, True),
        ("v3.0-dev", False, True),
        ("something", False, True),
    ],
)
def test_versions_tell_what_can_be_done(version: str, lite: bool, texts: bool) -> None:
    found = what_answers(version)
    assert (found.lite, found.finds_texts) == (lite, texts)


def test_arguments_out_of_their_range(path: str) -> None:
    with pytest.raises(ConfigError, match=r"consistency='strong' is unknown.*Strong"):
        MilvusVectors(path, "tickets", consistency="strong")
    with pytest.raises(ConfigError, match="timeout=0 must be"):
        MilvusVectors(path, "tickets", timeout=0)
