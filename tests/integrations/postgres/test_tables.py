"""Tables of every kind that is read, and what is said of the others."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from tests.integrations.postgres.conftest import COSINE, Execute, Open

Filled = Callable[..., str]
THREE = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
PLAIN = "text text, metadata jsonb"


@pytest.mark.parametrize(
    ("kind", "ids", "none"),
    [
        ("bigint", [7, -3, 900], ["x", "07", "1.0", str(10**30), ""]),
        ("uuid", [str(UUID(int=i)) for i in (5, 1, 3)], ["x", str(UUID(int=9)), "5"]),
        ("varchar(9)", ["b", "a", "c"], ["x", "A", ""]),
    ],
)
def test_ids_of_other_types(filled: Filled, opened: Open, kind: str, ids: Any, none: Any) -> None:
    filled(THREE, columns=f"id {kind} PRIMARY KEY, embedding vector({{d}}), {PLAIN}", ids=ids)
    vectors = opened()
    names = [str(row) for row in ids]
    assert vectors.fetch([*names, *none], records=True).ids == tuple(names)
    assert {row for page in vectors.scan() for row in page.ids} == set(names)
    found = vectors.search(np.array([1, 0], np.float32), k=3)
    assert found.ids[0] == names[0]
    assert len(vectors.sample(2, seed=0)) == 2


def test_numbers_are_scanned_in_pages_by_value(
    filled: Filled, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postgres_instruct_embeddings.vectors._PAGE", 2)
    columns = f"id int PRIMARY KEY, embedding vector({{d}}), {PLAIN}"
    filled([[1.0, row] for row in range(5)], columns=columns, ids=[10, 9, 100, 1, 2])
    assert [page.ids for page in opened().scan()] == [("1", "2"), ("9", "10"), ("100",)]


def test_halves_are_read_as_float32(filled: Filled, opened: Open) -> None:
    columns = f"id text PRIMARY KEY, embedding halfvec({{d}}), {PLAIN}"
    filled(THREE, columns=columns, index="hnsw (embedding halfvec_l2_ops)")
    vectors = opened()
    assert vectors.info().space == "l2"
    found = vectors.search(np.array([0, 1], np.float32), k=2, vectors=True)
    assert found.ids[0] == "r1"
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, [[0, 1], [1, 1]])


def test_lists_are_searched_too(filled: Filled, opened: Open) -> None:
    rows = np.random.default_rng(0).standard_normal((500, 8))
    filled(rows, index="ivfflat (embedding vector_ip_ops) WITH (lists = 20)")
    vectors = opened()
    assert vectors.info().space == "ip"
    found = vectors.search(rows[0].astype(np.float32), k=500)
    assert len(found) == 500


def test_columns_have_any_names_and_some_may_be_missing(
    execute: Execute, opened: Open, table: str
) -> None:
    execute(
        f'CREATE TABLE {table} ("Key" int UNIQUE, "my ""vector" vector(2), meta json, other text)'
    )
    execute(
        f"INSERT INTO {table} VALUES (1, '[1,0]', '{{\"b\": 1, \"a\": [2]}}'), (2, '[0,1]', '[]')"
    )
    names = {"id_column": "Key", "vector_column": 'my "vector', "metadata_column": "meta"}
    vectors = opened(**names, text_column=None, space="cosine")
    rows = vectors.fetch(["1", "2"], records=True)
    assert rows.texts == (None, None)
    assert rows.metadatas == ({"a": [2], "b": 1}, {})
    assert vectors.search(np.array([1, 0], np.float32), k=5, where={"b": 1}).ids == ("1",)
    with pytest.raises(ConfigError, match="text_column=None"):
        vectors.search(np.array([1, 0], np.float32), k=5, where_document={"$contains": "x"})


def test_an_empty_key_of_the_metadata_is_no_text(
    filled: Filled, opened: Open, execute: Execute
) -> None:
    table = filled(np.eye(2))
    execute(f"UPDATE {table} SET metadata = '{{\"\": \"text\"}}' WHERE id = 'r1'")
    assert [page.ids for page in opened().scan(where={"": "text"})] == [("r1",)]


def test_further_columns_have_any_names(filled: Filled, opened: Open) -> None:
    further = "place text, chosen int, distance real"
    filled(THREE, columns=f"id text PRIMARY KEY, embedding vector({{d}}), {PLAIN}, {further}")
    vectors = opened()
    assert len(vectors.sample(2, seed=0)) == 2
    assert vectors.search(np.array([1, 0], np.float32), k=1, vectors=True).ids == ("r0",)
    assert len(vectors.state().split()) == 2


def test_partitions_are_one_collection(execute: Execute, opened: Open, table: str) -> None:
    execute(
        f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(2), {PLAIN}) "
        "PARTITION BY HASH (id)"
    )
    for part in range(2):
        execute(
            f"CREATE TABLE {table}_{part} PARTITION OF {table} "
            f"FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        )
    execute(f"CREATE INDEX ON {table} USING {COSINE}")
    execute(f"INSERT INTO {table} SELECT i, ARRAY[i, 1] FROM generate_series(1, 100) i")
    vectors = opened()
    assert vectors.info().space == "cosine"
    found = vectors.search(np.array([0, 1], np.float32), k=3)
    assert found.ids == ("1", "2", "3")
    assert len(vectors.sample(20, seed=0)) == 20


def test_schemas(execute: Execute, opened: Open, table: str) -> None:
    execute(f"CREATE SCHEMA {table}")
    execute(f'CREATE TABLE {table}."a.b" (id text PRIMARY KEY, embedding vector(2), {PLAIN})')
    execute(f"INSERT INTO {table}.\"a.b\" VALUES ('x', '[1,0]')")
    assert opened("a.b", schema=table, space="l2").info().dimension == 2
    with pytest.raises(UnsupportedCollectionError, match="is not there"):
        opened("a.b", space="l2").info()


def test_rows_without_vectors_are_none(filled: Filled, execute: Execute, opened: Open) -> None:
    table = filled(THREE)
    execute(f"UPDATE {table} SET embedding = NULL WHERE id <> 'r1'")
    vectors = opened()
    assert vectors.count() == 1
    assert vectors.fetch(["r0", "r1"]).ids == ("r1",)
    assert vectors.search(np.array([1, 0], np.float32), k=5).ids == ("r1",)
    execute(f"UPDATE {table} SET embedding = NULL")
    with pytest.raises(EmptyCollectionError, match="holds no vectors yet"):
        vectors.info()


@pytest.mark.parametrize(
    ("columns", "index", "options", "message"),
    [
        ("id text PRIMARY KEY, embedding vector(2)", None, {}, "has no column 'text'"),
        (f"id text, embedding vector(2), {PLAIN}", COSINE, {}, "not unique"),
        (f"id date PRIMARY KEY, embedding vector(2), {PLAIN}", COSINE, {}, "that are date"),
        (f"id text PRIMARY KEY, embedding vector, {PLAIN}", None, {}, "no vectors of a fixed"),
        (f"id text PRIMARY KEY, embedding real[], {PLAIN}", None, {}, "whose type is _float4"),
        (f"id text PRIMARY KEY, embedding vector(2), {PLAIN}", None, {}, "CREATE INDEX ON"),
        (
            f"id text PRIMARY KEY, embedding vector(2), {PLAIN}",
            "hnsw (embedding vector_l1_ops)",
            {},
            "has 0 indexes",
        ),
        (
            "id text PRIMARY KEY, embedding vector(2), text text, metadata text",
            COSINE,
            {},
            "metadata_column=None",
        ),
    ],
)
def test_what_cannot_be_searched_says_what_to_do(
    execute: Execute, opened: Open, table: str, columns: str, index: Any, options: Any, message: str
) -> None:
    execute(f"CREATE TABLE {table} ({columns})")
    if index:
        execute(f"CREATE INDEX ON {table} USING {index}")
    with pytest.raises(UnsupportedCollectionError, match=message.replace("[", r"\[")):
        opened(**options).search(np.ones(2, np.float32), k=1)


def test_one_of_several_distances_is_chosen(filled: Filled, execute: Execute, opened: Open) -> None:
    table = filled(THREE)
    execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_l2_ops)")
    with pytest.raises(UnsupportedCollectionError, match=r"\['cosine', 'l2'\]. Pass space="):
        opened().info()
    assert opened(space="l2").info().space == "l2"
    with pytest.raises(ConfigError, match="space='dot' is unknown"):
        opened(space="dot")


def test_a_reader_of_the_table_needs_no_other_right(
    filled: Filled, execute: Execute, opened: Open, address: str, table: str
) -> None:
    filled(THREE)
    execute(f"CREATE ROLE {table}_reader LOGIN")
    reader = opened(source=address.replace("postgres:@", f"{table}_reader:@"))
    with pytest.raises(UnsupportedCollectionError, match=r"GRANT SELECT on the table"):
        reader.info()
    execute(f"GRANT SELECT ON {table} TO {table}_reader")
    assert reader.info() == opened().info()
    assert len(reader.search(np.ones(2, np.float32), k=3)) == 3
    assert len(reader.sample(3, seed=0)) == 3
