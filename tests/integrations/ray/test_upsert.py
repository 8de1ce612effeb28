"""Batches of each kind become rows; what the stores make of them, the tests of writing hold."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest

from instruct_embeddings.errors import CollectionError, ConfigError, DataError, InvalidVectorsError
from instruct_embeddings.writing import Writer
from ray_instruct_embeddings import UpsertInto

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


def expected() -> dict[str, Any]:
    rows = zip(["changed", "one", None, "three"], METADATA, VECTORS.tolist(), strict=True)
    return dict(zip(IDS, rows, strict=True))


def test_parquet(tmp_path: Path) -> None:
    write(f"parquet:{tmp_path}")
    assert len(list((tmp_path / "rows").iterdir())) == 1
    got = pyarrow.dataset.dataset(tmp_path / "rows").to_table().to_pylist()
    found = {row["id"]: (row["text"], json.loads(row["metadata"]), row["vector"]) for row in got}
    assert found == expected()


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


def test_unknown_addresses_and_dead_servers_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"'redis://\[hidden\]@x' is none .* Known are chroma:"):
        UpsertInto("redis://me:secret@x", "rows")
    with pytest.raises(CollectionError, match="did not take 4 rows, 'a' to 'd'") as caught:
        UpsertInto("postgresql://me:hunter2@127.0.0.1:1/db", "rows")(batch())
    assert "hunter2" not in str(caught.value)


def test_a_batch_without_rows_makes_no_collection(tmp_path: Path) -> None:
    assert UpsertInto(f"parquet:{tmp_path}", "rows")(batch().slice(0, 0))["rows"].tolist() == [0]
    assert not list(tmp_path.iterdir())


def test_a_run_of_several_writers_is_finished_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Written:
        def map_batches(self, *_: object, **__: object) -> "Written":
            return self

        def iter_rows(self) -> list[dict[str, int]]:
            return [{"rows": 2}, {"rows": 3}]

    finished: list[str] = []
    monkeypatch.setattr(Writer, "finish", lambda writer: finished.append(writer.collection))
    into: Any = UpsertInto("milvus://there", "rows")
    assert (into.write(Written(), writers=4), finished) == (5, ["rows"])
