"""Rows in each store, written twice, read by its own client or adapter."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import chromadb
import numpy as np
import psycopg
import pytest
from pymilvus import MilvusClient
from qdrant_client import QdrantClient

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import CollectionError, CollectionMismatchError
from instruct_embeddings.stores import open_store
from instruct_embeddings.writing import Records, Writer
from postgres_instruct_embeddings import PostgresVectors
from tests.chroma_server import chroma_server, close
from tests.milvus_server import milvus_server
from tests.qdrant_server import qdrant_server

VECTORS = np.eye(4, 3, dtype=np.float32) + np.float32(0.5)
IDS = ["a", "b", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "d"]
METADATA: list[dict[str, Any]] = [{"n": 0, "x": "u"}, {"n": 1}, {"n": 2}, {"n": 3}]


def records(first: str = "zero", **changes: Any) -> Records:
    columns = {"ids": IDS, "vectors": VECTORS, "metadatas": METADATA}
    return Records(texts=[first, "one", None, "three"], **columns | changes)


def write(address: str) -> None:
    """Twice, and then the first row with another text."""
    writer = Writer(address, "rows")
    assert not writer.exists()
    for rows in (records(), records(), records("changed")):
        writer.write(rows)
    writer.finish()
    assert writer.exists()


def of_chroma(collection: Any) -> dict[str, Any]:
    got = collection.get(include=["documents", "metadatas", "embeddings"])
    vectors = got["embeddings"].round(6).tolist()  # an index of cosines normalises them
    rows = zip(got["documents"], got["metadatas"], vectors, strict=True)
    return dict(zip(got["ids"], rows, strict=True))


def expected(missing: str | None = None, ids: Callable[[str], str] = str) -> dict[str, Any]:
    texts = ["changed", "one", missing, "three"]
    rows = zip(texts, METADATA, VECTORS.tolist(), strict=True)
    return dict(zip(map(ids, IDS), rows, strict=True))


def test_a_folder_of_chroma(tmp_path: Path) -> None:
    write(f"chroma:{tmp_path}")
    found = chromadb.PersistentClient(str(tmp_path)).get_collection("rows", embedding_function=None)
    assert of_chroma(found) == expected()
    assert ChromaVectors(found).info().space == "cosine"


@pytest.mark.parametrize("scheme", ["CHROMA", "Milvus", "QDRANT"])
def test_a_scheme_in_capitals_is_that_of_the_same_store(scheme: str, tmp_path: Path) -> None:
    address = f"{scheme}:{tmp_path / 'rows.db'}"
    writer = Writer(address, "rows")
    writer.write(records())
    assert (tmp_path / "rows.db").is_dir()
    assert writer.exists()
    found: Any = open_store(address, "rows")
    assert found.count() == 4
    found.close()


def test_a_server_of_chroma(tmp_path: Path) -> None:
    with chroma_server(tmp_path) as port:
        write(f"chroma://127.0.0.1:{port}")
        client = chromadb.HttpClient(host="127.0.0.1", port=port)
        assert of_chroma(client.get_collection("rows", embedding_function=None)) == expected()
        close(client)


def test_postgres(postgres: str) -> None:
    write(postgres)
    vectors = PostgresVectors(postgres, "rows")
    assert (vectors.info().space, vectors.info().dimension, vectors.count()) == ("cosine", 3, 4)
    found = vectors.fetch(IDS, vectors=True, records=True)
    rows = zip(found.texts, found.metadatas, found.vectors.tolist(), strict=True)
    assert dict(zip(found.ids, rows, strict=True)) == expected()
    vectors.close()


def test_a_table_with_strange_names_is_made_once(postgres: str) -> None:
    for _ in range(2):
        Writer(postgres, 'Odd "name"; --').write(records())
    with psycopg.connect(postgres) as connection:
        rows = connection.execute('SELECT count(*) FROM "Odd ""name""; --"').fetchone()
        indexes = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE tablename = %s", ['Odd "name"; --']
        ).fetchone()
    assert (rows, indexes) == ((4,), (2,))


def test_writers_that_open_a_table_at_once_make_it_once(postgres: str) -> None:
    def one(place: int) -> None:
        Writer(postgres, "at_once").write(records(ids=[f"{place}-{name}" for name in IDS]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(6)))
    vectors = PostgresVectors(postgres, "at_once")
    assert vectors.count() == 24
    vectors.close()


@pytest.fixture(name="milvus", params=["lite", "server"])
def milvus_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """As this package and as the client say where it is."""
    if request.param == "lite":
        yield f"milvus:{tmp_path / 'rows.db'}", str(tmp_path / "rows.db")
        return
    with milvus_server() as server:
        yield server.address.replace("http:", "milvus:"), server.address


@pytest.mark.timeout(150)
def test_milvus(milvus: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    address, place = milvus
    flushed: list[str] = []
    flush = MilvusClient.flush

    def counted(self: MilvusClient, name: str, **options: Any) -> None:
        flushed.append(name)
        flush(self, name, **options)

    monkeypatch.setattr(MilvusClient, "flush", counted)
    write(address)
    assert flushed == ["rows"] * ("//" in address)
    client = MilvusClient(place)
    limit = {"limit": 10, "consistency_level": "Strong"}
    got = client.query("rows", filter="", output_fields=["*"], **limit)
    found = {
        row["id"]: (
            row["text"],
            {key: row[key] for key in ("n", "x") if key in row},
            np.round(row["vector"], 6).tolist(),
        )
        for row in got
    }
    assert found == expected(missing="")
    client.close()


def test_metadata_takes_the_place_of_no_field_of_milvus(tmp_path: Path) -> None:
    writer = Writer(f"milvus:{tmp_path / 'rows.db'}", "rows")
    with pytest.raises(CollectionError, match="metadata named 'vector' would replace a field"):
        writer.write(records(metadatas=[{"vector": 1}] * 4))


@pytest.fixture(params=["local", "server"])
def qdrant(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Callable[[], QdrantClient]]]:
    """Address, and what makes a client."""
    if request.param == "local":
        yield f"qdrant:{tmp_path}", lambda: QdrantClient(path=str(tmp_path))
        return
    with qdrant_server() as (address, _):
        url = address.replace("qdrant", "http")
        yield address, lambda: QdrantClient(url, check_compatibility=False)


def test_qdrant(qdrant: tuple[str, Callable[[], QdrantClient]]) -> None:
    address, connect = qdrant
    write(address)
    client = connect()
    got, _ = client.scroll("rows", limit=10, with_vectors=True)
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    assert {str(one.id) for one in got} == set(map(Writer(address, "rows").stored_id, IDS))
    assert {one.payload["id"]: one.payload["page_content"] for one in got} == {
        name: text for name, (text, _, _) in expected().items()
    }
    assert {one.payload["id"]: one.payload["metadata"] for one in got} == dict(
        zip(IDS, METADATA, strict=True)
    )
    vectors = {one.payload["id"]: one.vector for one in got}
    found = np.array([vectors[name] for name in IDS])  # local mode keeps them as they came
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, unit, atol=1e-6)
    client.close()


def test_an_id_that_is_a_uuid_stays_and_others_become_one() -> None:
    stored_id = Writer("qdrant:x", "rows").stored_id
    assert stored_id(IDS[2]) == IDS[2]
    assert stored_id(IDS[2].upper()) not in (IDS[2], IDS[2].upper())
    assert stored_id("a") == stored_id("a") == str(UUID(stored_id("a")))
    assert stored_id("a") != stored_id("b")
    assert Writer("chroma:x", "rows").stored_id("a") == "a"


@pytest.mark.parametrize("kind", ["chroma", "milvus", "qdrant", "postgres"])
def test_vectors_of_another_dimension_are_refused_before_anything_is_written(
    kind: str, tmp_path: Path, postgres: str
) -> None:
    address = postgres if kind == "postgres" else f"{kind}:{tmp_path / 'rows.db'}"
    name = f"of_{kind}"
    writer = Writer(address, name)
    writer.write(records())
    for one in (writer, Writer(address, name)):
        with pytest.raises(CollectionError, match=r"[23]\b.* [23]\b") as refused:
            one.write(records(ids=["new", *IDS[1:]], vectors=VECTORS[:, :2]))
        assert kind == "chroma" or isinstance(refused.value, CollectionMismatchError)
        one.close()
    vectors = open_store(address, name)
    assert vectors.count() == 4
    vectors.close()  # type: ignore[attr-defined]


def test_a_server_of_milvus_that_cannot_be_flushed_is_a_warning() -> None:
    writer = Writer("milvus://me:hunter2@127.0.0.1:1", "rows")
    with pytest.warns(UserWarning, match="could not be flushed") as warned:
        writer.finish()
    assert "hunter2" not in str(warned[0].message)


def test_a_store_that_does_not_answer_is_an_error_without_passwords() -> None:
    writer = Writer("postgresql://me:hunter2@127.0.0.1:1/db", "rows")
    for call in (writer.exists, lambda: writer.write(records())):
        with pytest.raises(
            CollectionError, match=r"could not be looked for|did not take"
        ) as caught:
            call()
        assert "hunter2" not in str(caught.value)
