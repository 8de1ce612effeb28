import json
from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np
import pytest

from instruct_embeddings.cli import index, models
from instruct_embeddings.testing import TinyEncoder
from tests.unit.cli.conftest import Interrupted, Run

At = Callable[..., list[str]]


def rows(path: Path, count: int, *, bad: int | None = None) -> Path:
    lines = [json.dumps({"id": str(i), "text": f"text {i}", "n": i}) for i in range(count)]
    if bad is not None:
        lines[bad] = "{broken"
    file = path / "rows.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def stored(path: Path, name: str = "zoo") -> chromadb.Collection:
    return chromadb.PersistentClient(str(path)).get_collection(name, embedding_function=None)


def test_rows_are_stored_with_text_metadata_and_vector(tmp_path: Path, run: Run, at: At) -> None:
    ran = run("index", rows(tmp_path, 3), *at(tmp_path / "db"), "--json")
    assert ran.code == 0
    assert {key: ran.json[key] for key in ("added", "skipped", "bad", "rows", "model")} == {
        "added": 3,
        "skipped": 0,
        "bad": 0,
        "rows": 3,
        "model": "tiny",
    }
    got = stored(tmp_path / "db").get("1", include=["documents", "metadatas", "embeddings"])
    assert (got["documents"], got["metadatas"]) == (["text 1"], [{"n": 1}])
    vector = np.asarray(got["embeddings"])
    np.testing.assert_allclose(vector, TinyEncoder().encode(["text 1"]), atol=1e-6)


def test_a_second_run_stores_nothing(tmp_path: Path, run: Run, at: At) -> None:
    file = rows(tmp_path, 5)
    run("index", file, *at(tmp_path / "db"))
    again = run("index", file, *at(tmp_path / "db"))
    assert "0 rows added, 5 were stored already, 0 bad; 5 rows in all" in again.stdout


def test_an_interrupted_run_is_continued_without_encoding_twice(
    tmp_path: Path, run: Run, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_BATCH", 4)
    file = rows(tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(models, "load_encoder", lambda model=None: Interrupted(4))
        stopped = run("index", file, *at(tmp_path / "db"))
    assert (stopped.code, stored(tmp_path / "db").count()) == (130, 4)
    assert "What was stored so far is kept" in stopped.stderr
    ran = run("index", file, *at(tmp_path / "db"), "--json")
    assert (ran.json["added"], ran.json["skipped"], ran.json["rows"]) == (6, 4, 10)


def test_a_bad_line_stops_before_its_batch_is_written(
    tmp_path: Path, run: Run, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_BATCH", 4)
    ran = run("index", rows(tmp_path, 10, bad=6), *at(tmp_path / "db"))
    assert (ran.code, ran.stdout) == (1, "")
    assert "rows.jsonl:7: not JSON" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert stored(tmp_path / "db").count() == 4


def test_skip_bad_counts_and_names_bad_lines(tmp_path: Path, run: Run, at: At) -> None:
    file = rows(tmp_path, 10, bad=6)
    ran = run("index", file, *at(tmp_path / "db"), "--skip-bad", "--json")
    assert (ran.code, ran.json["added"], ran.json["bad"]) == (0, 9, 1)
    assert ran.json["bad_lines"][0].startswith(f"{file}:7: not JSON")
    assert "skipped" in ran.stderr


def test_the_same_row_twice_is_stored_once(tmp_path: Path, run: Run, at: At) -> None:
    file = tmp_path / "twice.jsonl"
    file.write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "x"}\n', encoding="utf-8")
    ran = run("index", file, *at(tmp_path / "db"), "--json")
    assert (ran.code, ran.json["rows"]) == (0, 1)


def test_a_collection_of_another_model_is_refused(tmp_path: Path, run: Run, at: At) -> None:
    file = rows(tmp_path, 2)
    run("index", file, *at(tmp_path / "db"), "--model", "other")
    ran = run("index", file, *at(tmp_path / "db"))
    assert ran.code == 1
    assert "'other'" in ran.stderr
    assert "'tiny'" in ran.stderr


def test_a_foreign_collection_needs_the_model_by_name(tmp_path: Path, run: Run, at: At) -> None:
    client = chromadb.PersistentClient(str(tmp_path / "db"))
    foreign = client.create_collection("zoo", embedding_function=None)
    foreign.add(ids=["x"], embeddings=TinyEncoder().encode(["x"]))
    file = rows(tmp_path, 2)
    refused = run("index", file, *at(tmp_path / "db"))
    assert (refused.code, foreign.count()) == (1, 1)
    assert "does not record which model filled it" in refused.stderr
    assert run("index", file, *at(tmp_path / "db"), "--model", "tiny").code == 0
    assert foreign.count() == 3


def test_vectors_of_another_dimension_are_an_error_of_one_line(
    tmp_path: Path, run: Run, at: At
) -> None:
    client = chromadb.PersistentClient(str(tmp_path / "db"))
    client.create_collection("zoo", embedding_function=None).add(
        ids=["x"], embeddings=np.eye(1, 2, dtype=np.float32)
    )
    ran = run("index", rows(tmp_path, 2), *at(tmp_path / "db"), "--model", "tiny")
    assert ran.code == 1
    assert "refused 2 rows, '0' to '1'" in ran.stderr


def test_usage_errors_exit_with_2(tmp_path: Path, run: Run, at: At) -> None:
    assert run("index", tmp_path / "none.jsonl", *at(tmp_path)).code == 2
    assert run("index", rows(tmp_path, 1), "--collection", "zoo").code == 2
