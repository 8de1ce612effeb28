"""An index whose writing was cut off is noticed before Chroma loads it, and `index --rebuild`."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np
import pytest

from chroma_instruct_embeddings import damage
from chroma_instruct_embeddings.damage import is_damaged
from chroma_instruct_embeddings.database import ChromaDatabase
from instruct_embeddings.cli import models
from instruct_embeddings.cli.index import create
from instruct_embeddings.cli.models import MODEL_KEY
from instruct_embeddings.testing import TinyEncoder
from tests.unit.cli.conftest import Interrupted, Run

At = Callable[..., list[str]]
# Chroma writes its index for the first time after a thousand rows.
ROWS = 1200
# A client of this process would go on with what it has read of the files.
FILL = """
import sys, chromadb
from instruct_embeddings.testing import TinyEncoder
collection = chromadb.PersistentClient(sys.argv[1]).create_collection(
    "zoo", configuration={"hnsw": {"space": "l2"}}, embedding_function=None,
    metadata={"instruct_embeddings:model": "tiny", "owner": "me"},
)
for start in range(0, int(sys.argv[2]), 300):
    texts = [f"text {row}" for row in range(start, start + 300)]
    collection.add(ids=[text[5:] for text in texts], embeddings=TinyEncoder().encode(texts),
                   documents=texts)
"""


def fill(database: Path) -> None:
    arguments = [str(database), str(ROWS)]
    subprocess.run([sys.executable, "-c", FILL, *arguments], check=True)


def tear(database: Path) -> Path:
    """As a process that is killed leaves it: newer than what is written last."""
    [vectors] = database.glob("*/data_level0.bin")
    data = vectors.read_bytes()
    vectors.write_bytes(data[: len(data) // 2])
    last = vectors.with_name("index_metadata.pickle").stat().st_mtime_ns
    os.utime(vectors, ns=(last + 10**6, last + 10**6))
    return vectors.parent


def cut_pickle(database: Path) -> Path:
    [last] = database.glob("*/index_metadata.pickle")
    last.write_bytes(last.read_bytes()[:-20])
    return last.parent


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "_PATIENCE", 0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(ROWS + 50)]
    made.write_text("\n".join(lines), encoding="utf-8")
    return made


def check(database: Path, rows: int) -> None:
    """In a process of its own, every row has its vector and is found by it."""
    client = chromadb.PersistentClient(str(database))
    collection = client.get_collection("zoo", embedding_function=None)
    got = collection.get(include=["embeddings", "documents"])
    assert sorted(got["ids"], key=int) == [str(row) for row in range(rows)]
    expected = TinyEncoder().encode(got["documents"] or [])
    np.testing.assert_allclose(np.asarray(got["embeddings"]), expected, atol=1e-5)
    found = collection.query(query_embeddings=TinyEncoder().encode(["text 7"]), n_results=1)
    assert found["ids"] == [["7"]]


@pytest.mark.parametrize("damaged", [tear, cut_pickle])
def test_a_damaged_index_is_named_with_the_command_that_rebuilds_it(
    damaged: Callable[[Path], Path], tmp_path: Path, run: Run, at: At, file: Path
) -> None:
    database = tmp_path / "db"
    fill(database)
    damaged(database)
    for command in (["query", "text 7"], ["index", file]):
        ran = run(*command, *at(database))
        assert ran.code == 1
        assert "killed while Chroma wrote it" in ran.stderr
        assert f"index FILE --rebuild --store chroma:{database} --collection zoo" in ran.stderr
    ran = run("index", file, "--rebuild", *at(database), "--json")
    assert (ran.code, ran.json["rebuilt"], ran.json["added"]) == (0, True, ROWS + 50)
    check(database, ROWS + 50)
    assert run("query", "text 7", *at(database)).code == 0
    assert run("index", file, *at(database), "--json").json["skipped"] == ROWS + 50


def test_an_intact_collection_is_rebuilt_with_its_distance_and_metadata(
    tmp_path: Path, run: Run, at: At, file: Path
) -> None:
    database = tmp_path / "db"
    fill(database)
    file.write_text("\n".join(file.read_text().splitlines()[:9]), encoding="utf-8")
    assert run("index", file, "--rebuild", *at(database), "--json").json["rows"] == 9
    [found] = chromadb.PersistentClient(str(database)).list_collections()
    assert (found.name, found.count()) == ("zoo", 9)
    assert found.configuration_json["hnsw"]["space"] == "l2"
    assert found.metadata["owner"] == "me"


def test_a_distance_that_older_versions_keep_in_the_metadata_is_taken_over(tmp_path: Path) -> None:
    made = {"hnsw:space": "ip", "owner": "me"}
    client = chromadb.PersistentClient(str(tmp_path))
    client.create_collection("old", metadata=made)
    # Chroma before 0.6 wrote no schema; newer versions report the default distance then.
    with sqlite3.connect(tmp_path / "chroma.sqlite3") as file:
        file.execute("UPDATE collections SET schema_str = NULL")
    file.close()
    old = client.get_collection("old")
    assert old.configuration_json["hnsw"]["space"] == "l2"
    new = create(ChromaDatabase(f"chroma:{tmp_path}"), "new", "tiny", like=old)
    assert new.configuration_json["hnsw"]["space"] == "ip"
    assert new.metadata == {"owner": "me", MODEL_KEY: "tiny"}


def test_a_rebuild_that_is_interrupted_keeps_the_old_collection_and_goes_on(
    tmp_path: Path, run: Run, at: At, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "db"
    fill(database)
    rebuild = ["index", file, "--rebuild", *at(database)]
    with monkeypatch.context() as patch:
        patch.setattr(models, "load_encoder", lambda model=None: Interrupted(600))
        assert run(*rebuild).code == 130
    check(database, ROWS)
    ran = run(*rebuild, "--json")
    assert (ran.json["skipped"], ran.json["rows"]) == (1024, ROWS + 50)
    check(database, ROWS + 50)


def test_files_without_a_row_leave_the_old_collection(
    tmp_path: Path, run: Run, at: At, file: Path
) -> None:
    database = tmp_path / "db"
    fill(database)
    file.write_text("{}", encoding="utf-8")
    ran = run("index", file, "--rebuild", "--skip-bad", *at(database))
    assert (ran.code, "The collection was left as it is" in ran.stderr) == (1, True)
    check(database, ROWS)


def test_an_index_that_was_written_to_its_end_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "db"
    fill(database)
    collection = chromadb.PersistentClient(str(database)).get_collection("zoo")
    assert not is_damaged(database, collection)
    (database / "chroma.sqlite3").unlink()
    assert not is_damaged(database, collection)


def test_an_index_that_is_being_written_is_not_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "db"
    fill(database)
    vectors = tear(database) / "data_level0.bin"
    collection = chromadb.PersistentClient(str(database)).get_collection("zoo")
    assert is_damaged(database, collection)
    monkeypatch.setattr(damage.time, "sleep", lambda seconds: vectors.touch())
    assert not is_damaged(database, collection)
