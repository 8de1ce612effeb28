"""Files that were edited since they were indexed: found, counted, stored anew on request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest

from instruct_embeddings.cli import models
from instruct_embeddings.testing import TinyEncoder
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
COUNTS = ("added", "updated", "changed", "skipped", "rows")


def write(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def row(path: Path, name: str) -> tuple[str, dict[str, Any] | None, np.ndarray]:
    zoo = chromadb.PersistentClient(str(path)).get_collection("zoo", embedding_function=None)
    found = zoo.get(name, include=["documents", "metadatas", "embeddings"])
    assert found["documents"] is not None
    assert found["metadatas"] is not None
    metadata = found["metadatas"][0]
    vector = np.asarray(found["embeddings"])[0]
    return found["documents"][0], None if metadata is None else dict(metadata), vector


def counts(document: dict[str, Any]) -> tuple[int, ...]:
    return tuple(document[name] for name in COUNTS)


CAT = {"id": "cat", "text": "the cat sleeps", "mood": "calm", "age": 3, "tame": True}
DOG = {"id": "dog", "text": "the dog barks", "mood": "loud"}
EDITS = {
    "text": CAT | {"text": "the cat hunts"},
    "value": CAT | {"mood": "wild"},
    "new key": CAT | {"colour": "black"},
    "lost key": {key: value for key, value in CAT.items() if key != "mood"},
    "all keys lost": {"id": "cat", "text": "the cat sleeps"},
    "type": CAT | {"tame": 1},
    "text and value": CAT | {"text": "the cat hunts", "age": 4},
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_counted_and_stored_anew_on_request(
    tmp_path: Path, run: Run, at: At, edit: str
) -> None:
    file, db = tmp_path / "rows.jsonl", tmp_path / "db"
    run("index", write(file, CAT, DOG), *at(db))
    before = row(db, "cat")
    edited = EDITS[edit]
    write(file, edited, DOG)

    seen = run("index", file, *at(db))
    assert "1 of those stored have changed in the files, such as 'cat'" in seen.stdout
    assert "--update" in seen.stdout
    assert row(db, "cat")[:2] == before[:2]
    assert counts(run("index", file, *at(db), "--json").json) == (0, 0, 1, 2, 2)

    assert counts(run("index", file, *at(db), "--update", "--json").json) == (0, 1, 0, 1, 2)
    text, metadata, vector = row(db, "cat")
    wanted = {key: value for key, value in edited.items() if key not in ("id", "text")}
    assert (text, metadata) == (edited["text"], wanted or None)
    np.testing.assert_allclose(vector, TinyEncoder().encode([text])[0], atol=1e-6)
    again = run("index", file, *at(db))
    assert counts(run("index", file, *at(db), "--json").json) == (0, 0, 0, 2, 2)
    assert "changed" not in again.stdout


def test_only_texts_that_changed_are_encoded(
    tmp_path: Path, run: Run, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, db = tmp_path / "rows.jsonl", tmp_path / "db"
    run("index", write(file, CAT, DOG), *at(db))
    write(
        file, CAT | {"mood": "wild"}, DOG | {"text": "the dog digs"}, {"id": "owl", "text": "hoo"}
    )
    encoder = TinyEncoder("tiny")
    monkeypatch.setattr(models, "load_encoder", lambda model=None: encoder)
    assert counts(run("index", file, *at(db), "--update", "--json").json) == (1, 2, 0, 0, 3)
    assert encoder.encoded == 2


def test_rows_that_somebody_else_stored_are_compared_too(tmp_path: Path, run: Run, at: At) -> None:
    db = tmp_path / "db"
    zoo = chromadb.PersistentClient(str(db)).create_collection("zoo", embedding_function=None)
    zoo.add(ids=["cat", "dog"], embeddings=TinyEncoder().encode(["x", "y"]), documents=["x", "y"])
    file = write(tmp_path / "rows.jsonl", {"id": "cat", "text": "x"}, {"id": "dog", "text": "z"})
    ran = run("index", file, *at(db), "--model", "tiny", "--json")
    assert counts(ran.json) == (0, 0, 1, 2, 2)


def test_numbers_are_the_same_however_they_are_written(tmp_path: Path, run: Run, at: At) -> None:
    file, db = tmp_path / "rows.jsonl", tmp_path / "db"
    run("index", write(file, CAT | {"age": 3, "weight": 2.5}), *at(db))
    write(file, CAT | {"age": 3.0, "weight": 2.50})
    assert counts(run("index", file, *at(db), "--json").json) == (0, 0, 0, 1, 1)


def test_edited_rows_without_an_id_are_told_of(tmp_path: Path, run: Run, at: At) -> None:
    file, db = tmp_path / "pages.txt", tmp_path / "db"
    file.write_text("the cat sleeps\n\nthe dog barks\n", encoding="utf-8")
    first = run("index", file, *at(db))
    assert "without an id" not in first.stdout
    file.write_text("the cat hunts\n\nthe dog barks\n", encoding="utf-8")
    again = run("index", file, *at(db))
    assert "1 rows added" in again.stdout
    assert "1 stored rows without an id of their own are not in these files" in again.stdout
