"""`index` fills each store beside Chroma, without Ray: every row once, whatever happens."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from instruct_embeddings.cli import index_upsert, models
from instruct_embeddings.stores import open_store
from instruct_embeddings.testing import TinyEncoder
from instruct_embeddings.writing import Records, Writer
from tests.postgres_server import postgres_server
from tests.unit.cli.conftest import Interrupted, Run

ROWS: list[dict[str, Any]] = [{"id": f"r{n}", "text": f"cat {n}", "n": n} for n in range(10)]
COUNTS = ("added", "updated", "changed", "skipped", "rows")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as address:
        yield address


@pytest.fixture(params=["milvus", "postgresql", "qdrant"])
def address(request: pytest.FixtureRequest, tmp_path: Path, server: str) -> Iterator[str]:
    if request.param != "postgresql":
        yield f"{request.param}:{tmp_path / 'store.db'}"
        return
    yield server
    with psycopg.connect(server) as connection:
        connection.execute("DROP TABLE IF EXISTS rows")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", *ROWS)


def write(file: Path, *rows: object) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def at(address: str) -> list[str]:
    return ["--store", address, "--collection", "rows"]


def counts(document: dict[str, Any]) -> tuple[int, ...]:
    return tuple(document[name] for name in COUNTS)


def stored(address: str) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Text and metadata by id; vectors are those of the texts."""
    found: Any = open_store(address, "rows")
    writer = Writer(address, "rows")
    names = {writer.stored_id(str(row["id"])): str(row["id"]) for row in ROWS}
    rows = found.fetch(list(names), vectors=True, records=True)
    assert found.count() == len(rows)
    found.close()
    np.testing.assert_allclose(rows.vectors, TinyEncoder().encode(list(rows.texts)), atol=1e-6)
    pairs = zip(rows.texts, map(dict, rows.metadatas), strict=True)
    return dict(zip((names[one] for one in rows.ids), pairs, strict=True))


def expected(*rows: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {row["id"]: (row["text"], {"n": row["n"]}) for row in rows}


def test_rows_are_stored_once_and_anew_when_asked(
    address: str, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # not installed
    monkeypatch.setattr(index_upsert, "_BATCH", 4)
    first = run("index", file, *at(address), "--json").json
    assert (first["model"], counts(first)) == ("tiny", (10, 0, 0, 0, 10))
    assert counts(run("index", file, *at(address), "--json").json) == (0, 0, 0, 10, 10)
    edited = [*ROWS[:3], ROWS[3] | {"text": "a dog"}, ROWS[4] | {"n": 44}, *ROWS[5:]]
    write(file, *edited)
    seen = run("index", file, *at(address))
    assert "2 of those stored have changed in the files, such as 'r3'" in seen.stdout
    assert stored(address) == expected(*ROWS)
    updated = run("index", file, *at(address), "--update", "--json").json
    assert counts(updated) == (0, 2, 0, 8, 10)
    assert stored(address) == expected(*edited)


def test_an_interrupted_run_is_continued(
    address: str, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_upsert, "_BATCH", 4)
    with monkeypatch.context() as patch:
        patch.setattr(models, "load_encoder", lambda model=None: Interrupted(4))
        stopped = run("index", file, *at(address))
    assert (stopped.code, len(stored(address))) == (130, 4)
    ran = run("index", file, *at(address), "--json")
    assert counts(ran.json) == (6, 0, 0, 4, 10)
    assert stored(address) == expected(*ROWS)


def test_a_row_that_stands_twice_in_the_files_is_stored_once(
    address: str, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_upsert, "_BATCH", 4)
    write(file, *ROWS, *ROWS)
    assert counts(run("index", file, *at(address), "--json").json) == (10, 0, 0, 10, 10)


def test_bad_lines_are_told_and_skipped_on_request(address: str, file: Path, run: Run) -> None:
    write(file, *ROWS[:4], "{broken", *ROWS[4:])
    refused = run("index", file, *at(address))
    assert (refused.code, "rows.jsonl:5: not JSON" in refused.stderr) == (1, True)
    assert not Writer(address, "rows").exists()
    ran = run("index", file, *at(address), "--skip-bad", "--json")
    assert (ran.json["added"], ran.json["bad"]) == (10, 1)
    assert "rows.jsonl:5: not JSON" in ran.stderr


def test_another_dimension_is_refused_before_anything_is_written(
    address: str, file: Path, run: Run
) -> None:
    three = np.eye(3, dtype=np.float32)
    writer = Writer(address, "rows")
    writer.write(Records(["a", "b", "c"], three, ["x", "y", "z"], [{}] * 3))
    writer.close()
    for options in ([], ["--model", "tiny"]):
        ran = run("index", file, *at(address), *options)
        assert (ran.code, ran.stdout) == (1, "")
        assert "have 3 dimensions, those of 'tiny' have 32" in ran.stderr
    found: Any = open_store(address, "rows")
    assert found.count() == 3
    found.close()


def test_a_collection_of_another_model_is_told_by_its_vectors(
    address: str, file: Path, run: Run
) -> None:
    vectors = np.roll(TinyEncoder().encode(["x", "y"]), 1, axis=1)
    writer = Writer(address, "rows")
    writer.write(Records(["a", "b"], vectors, ["x", "y"], [{}] * 2))
    writer.close()
    refused = run("index", file, *at(address))
    assert (refused.code, "was not filled by 'tiny'" in refused.stderr) == (1, True)
    assert run("index", file, *at(address), "--model", "tiny", "--json").json["rows"] == 12


def test_a_table_that_cannot_be_read_is_not_written_over(server: str, file: Path, run: Run) -> None:
    with psycopg.connect(server) as connection:
        connection.execute("CREATE TABLE odd (id text PRIMARY KEY, words text)")
    ran = run("index", file, "--store", server, "--collection", "odd")
    assert (ran.code, "Error: " in ran.stderr, "Traceback" in ran.stderr) == (1, True, False)
    with psycopg.connect(server) as connection:
        assert connection.execute("SELECT count(*) FROM odd").fetchone() == (0,)


def test_a_run_without_rows_makes_no_collection(address: str, file: Path, run: Run) -> None:
    assert counts(run("index", write(file), *at(address), "--json").json) == (0, 0, 0, 0, 0)
    assert not Writer(address, "rows").exists()


def test_rebuilding_is_for_chroma(address: str, file: Path, run: Run) -> None:
    ran = run("index", file, *at(address), "--rebuild")
    assert (ran.code, "is for collections of Chroma" in ran.stderr) == (2, True)


@pytest.mark.parametrize("store", ["redis://there", "parquet:folder", "milvus:no-suffix"])
def test_what_is_no_store_is_a_usage_error(
    store: str, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("index", file, *at(store)).code == 2
    assert [*tmp_path.iterdir()] == [file]
