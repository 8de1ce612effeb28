"""Rows in each store, written twice, read by its own client or adapter."""

import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import chromadb
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.dataset
import pytest
from pymilvus import MilvusClient
from qdrant_client import QdrantClient

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import CollectionError, ConfigError, DataError, InvalidVectorsError
from postgres_instruct_embeddings import PostgresVectors
from ray_instruct_embeddings import UpsertInto, engines
from tests.chroma_server import chroma_server, close
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server
from tests.qdrant_server import qdrant_server

VECTORS = np.eye(4, 3, dtype=np.float32) + np.float32(0.5)
IDS = ["a", "b", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "d"]
METADATA: list[dict[str, Any]] = [{"n": 0, "x": "u"}, {"n": 1}, {"n": 2}, {"n": 3}]


def batch(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "id": IDS,
        "text": ["zero", "one", None, "three"],
        "embedding": list(VECTORS),
        "n": [0, 1, 2, 3],
        "x": ["u", None, None, None],
    }
    return pa.table(columns | changes)


def write(address: str) -> None:
    """Twice, and then the first row with another text."""
    writer = UpsertInto(address, "rows")
    for rows in (batch(), batch(), batch(text=["changed", "one", None, "three"])):
        assert writer(rows)["rows"].tolist() == [4]
    writer.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as address:
        yield address


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
        UpsertInto(postgres, 'Odd "name"; --')(batch())
    with psycopg.connect(postgres) as connection:
        rows = connection.execute('SELECT count(*) FROM "Odd ""name""; --"').fetchone()
        indexes = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE tablename = %s", ['Odd "name"; --']
        ).fetchone()
    assert (rows, indexes) == ((4,), (2,))


def test_writers_that_open_a_table_at_once_make_it_once(postgres: str) -> None:
    def one(place: int) -> int:
        rows = batch(id=[f"{place}-{name}" for name in IDS])
        return int(UpsertInto(postgres, "at_once")(rows)["rows"][0])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == [4] * 6
    vectors = PostgresVectors(postgres, "at_once")
    assert vectors.count() == 24
    vectors.close()


@pytest.fixture(params=["lite", "server"])
def milvus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """As this package and as the client say where it is."""
    if request.param == "lite":
        yield f"milvus:{tmp_path / 'rows.db'}", str(tmp_path / "rows.db")
        return
    with milvus_server() as server:
        yield server.address.replace("http:", "milvus:"), server.address


@pytest.mark.timeout(150)
def test_milvus(milvus: tuple[str, str]) -> None:
    address, place = milvus
    write(address)
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
    writer = UpsertInto(f"milvus:{tmp_path / 'rows.db'}", "rows")
    with pytest.raises(CollectionError, match="metadata named 'vector' would replace a field"):
        writer(batch(vector=[1, 2, 3, 4]))
    writer.close()


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
    assert {str(one.id) for one in got} == set(map(engines.point_id, IDS))
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


def test_parquet(tmp_path: Path) -> None:
    write(f"parquet:{tmp_path}")
    assert len(list((tmp_path / "rows").iterdir())) == 1
    got = pyarrow.dataset.dataset(tmp_path / "rows").to_table().to_pylist()
    found = {row["id"]: (row["text"], json.loads(row["metadata"]), row["vector"]) for row in got}
    assert found == expected()


def test_an_id_that_is_a_uuid_stays_and_others_become_one() -> None:
    assert engines.point_id(IDS[2]) == IDS[2]
    assert engines.point_id(IDS[2].upper()) not in (IDS[2], IDS[2].upper())
    assert engines.point_id("a") == engines.point_id("a") == str(UUID(engines.point_id("a")))
    assert engines.point_id("a") != engines.point_id("b")


def test_metadata_may_be_one_column(tmp_path: Path) -> None:
    rows = batch().select(["id", "text", "embedding"])
    for place, column in enumerate((map(json.dumps, METADATA), METADATA)):
        table = rows.append_column("m", pa.array(list(column)))
        UpsertInto(f"parquet:{tmp_path}", str(place), metadata_column="m")(table)
        got = pyarrow.dataset.dataset(tmp_path / str(place)).to_table().to_pydict()
        assert [json.loads(one)["n"] for one in got["metadata"]] == [0, 1, 2, 3]


@pytest.mark.parametrize("given", ["no JSON", "[1]", 3])
def test_metadata_that_are_no_object_are_refused(tmp_path: Path, given: object) -> None:
    rows = batch().select(["id", "text", "embedding"]).append_column("m", pa.array([given] * 4))
    with pytest.raises(DataError, match="are no object, nor the JSON of one"):
        UpsertInto(f"parquet:{tmp_path}", "rows", metadata_column="m")(rows)


def test_a_batch_of_numpy_and_of_pandas_is_stored_too(tmp_path: Path) -> None:
    table = batch()
    for place, rows in enumerate((table.to_pandas(), dict(table.to_pandas().items()))):
        rows = rows if place == 0 else {name: one.to_numpy() for name, one in rows.items()}
        UpsertInto(f"parquet:{tmp_path}", str(place))(rows)
        got = pyarrow.dataset.dataset(tmp_path / str(place)).to_table().to_pydict()
        assert (got["id"], got["vector"]) == (IDS, VECTORS.tolist())
        assert [json.loads(one) for one in got["metadata"]] == METADATA


def test_settings_can_be_pickled_and_show_no_password(tmp_path: Path) -> None:
    writer = UpsertInto("postgresql://me:hunter2@host/db", "rows")
    assert "hunter2" not in repr(writer)
    assert pickle.loads(pickle.dumps(writer)).address == writer.address
    used = UpsertInto(f"parquet:{tmp_path}", "rows")
    used(batch())
    assert pickle.loads(pickle.dumps(used))(batch())["rows"].tolist() == [4]


def test_bad_rows_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    writer = UpsertInto(f"parquet:{tmp_path}", "rows")
    with pytest.raises(DataError, match="id None is neither a text nor a whole number"):
        writer(batch(id=["a", None, "c", "d"]))
    with pytest.raises(DataError, match="id 'a' stands twice"):
        writer(batch(id=["a", "a", "c", "d"]))
    with pytest.raises(InvalidVectorsError, match="no finite vectors"):
        writer(batch(embedding=list(VECTORS * np.nan)))
    with pytest.raises(InvalidVectorsError, match="no vectors of one length"):
        writer(batch(embedding=[[1.0], [1.0, 2.0], [1.0], [1.0]]))
    with pytest.raises(ConfigError, match="no column 'id'"):
        writer(batch().drop_columns(["id"]))
    assert not list(tmp_path.rglob("*"))


def test_unknown_addresses_and_dead_servers_say_what_to_do(postgres: str) -> None:
    with pytest.raises(ConfigError, match=r"'redis://\[hidden\]@x' is none .* Known are chroma:"):
        UpsertInto("redis://me:secret@x", "rows")
    with pytest.raises(CollectionError, match="did not take 4 rows, 'a' to 'd'") as caught:
        UpsertInto("postgresql://me:hunter2@127.0.0.1:1/db", "rows")(batch())
    assert "hunter2" not in str(caught.value)
    UpsertInto(postgres, "short")(batch())
    with pytest.raises(CollectionError, match="expected 3 dimensions, not 2"):
        UpsertInto(postgres, "short")(batch(embedding=list(VECTORS[:, :2])))


def test_a_batch_without_rows_makes_no_collection(tmp_path: Path) -> None:
    assert UpsertInto(f"parquet:{tmp_path}", "rows")(batch().slice(0, 0))["rows"].tolist() == [0]
    assert not list(tmp_path.iterdir())
