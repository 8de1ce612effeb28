"""An index whose writing was cut off is noticed before Chroma reads it, and made again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np
import pytest

from instruct_embeddings.cli import encoders, restoring
from instruct_embeddings.cli.restoring import is_damaged
from instruct_embeddings.testing import TinyEncoder
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
# Chroma writes its index for the first time after a thousand rows.
ROWS = 1200
# A client of this process would go on with what it has read of the files.
FILL = """
import sys, chromadb
from instruct_embeddings.testing import TinyEncoder
collection = chromadb.PersistentClient(sys.argv[1]).create_collection(
    "zoo", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None,
    metadata={"instruct_embeddings:model": "tiny"},
)
for start in range(0, int(sys.argv[2]), 300):
    texts = [f"text {row}" for row in range(start, start + 300)]
    collection.add(ids=[text[5:] for text in texts], embeddings=TinyEncoder().encode(texts),
                   documents=texts if sys.argv[3] == "texts" else None)
"""


def fill(database: Path, *, texts: bool = True) -> None:
    arguments = [str(database), str(ROWS), "texts" if texts else "none"]
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
    monkeypatch.setattr(restoring, "_PATIENCE", 0.01)


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


@pytest.mark.parametrize("damage", [tear, cut_pickle])
def test_a_damaged_index_is_made_again_and_indexing_goes_on(
    damage: Callable[[Path], Path], tmp_path: Path, run: Run, at: At, file: Path
) -> None:
    database = tmp_path / "db"
    fill(database)
    damage(database)
    asked = run("query", "text 7", *at(database))
    assert asked.code == 1
    assert "killed while Chroma wrote it" in asked.stderr
    ran = run("index", file, *at(database), "--json")
    assert (ran.code, ran.json["restored"], ran.json["added"]) == (0, ROWS, 50)
    assert "all stored texts are embedded again" in ran.stderr
    check(database, ROWS + 50)
    assert not list(database.glob("*.damaged"))
    assert run("query", "text 7", *at(database)).code == 0
    assert run("index", file, *at(database), "--json").json["restored"] == 0


def test_restoring_that_is_interrupted_goes_on(
    tmp_path: Path, run: Run, at: At, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(TinyEncoder):
        def encode(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            if self.encoded >= 600:
                raise KeyboardInterrupt
            return super().encode(*args, **kwargs)  # type: ignore[arg-type]

    database = tmp_path / "db"
    fill(database)
    tear(database)
    monkeypatch.setattr(restoring, "_PAGE", 300)
    with monkeypatch.context() as patch:
        patch.setattr(encoders, "load_encoder", lambda model=None: Interrupted("tiny"))
        assert run("index", file, *at(database)).code == 130
    assert run("query", "text 7", *at(database)).code == 1
    ran = run("index", file, *at(database), "--json")
    assert (ran.json["restored"], ran.json["rows"]) == (ROWS - 600, ROWS + 50)
    check(database, ROWS + 50)


def test_rows_without_a_text_are_named_since_their_vectors_are_lost(
    tmp_path: Path, run: Run, at: At, file: Path
) -> None:
    database = tmp_path / "db"
    fill(database, texts=False)
    aside = tear(database)
    ran = run("index", file, *at(database))
    assert ran.code == 1
    assert "rows of 'zoo' have no text, such as '0'" in ran.stderr
    assert aside.with_name(aside.name + ".damaged").is_dir()


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
    monkeypatch.setattr(restoring.time, "sleep", lambda seconds: vectors.touch())
    assert not is_damaged(database, collection)
