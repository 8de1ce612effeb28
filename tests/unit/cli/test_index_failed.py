"""An `index` that fails before the first row leaves no collection behind."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import chromadb
import pytest

from instruct_embeddings.cli import models
from instruct_embeddings.testing import TinyEncoder
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]


def names(path: Path) -> list[str]:
    return [one.name for one in chromadb.PersistentClient(str(path)).list_collections()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", "{broken"),
        ("rows.jsonl", '{"id": "a", "body": "no text under this key"}'),
        ("rows.jsonl", '{"id": "a", "text": "x", "n": 1e400}'),
        ("rows.csv", "id,text\na,b,c\n"),
        ("rows.txt", ""),
    ],
)
def test_a_file_that_brings_no_row(
    tmp_path: Path, run: Run, at: At, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    ran = run("index", file, *at(tmp_path / "db"))
    assert ran.code == (1 if content else 0)
    assert names(tmp_path / "db") == []


@pytest.mark.parametrize("problem", [KeyboardInterrupt, MemoryError, OSError])
def test_an_encoder_that_fails(
    tmp_path: Path,
    run: Run,
    at: At,
    monkeypatch: pytest.MonkeyPatch,
    problem: type[BaseException],
) -> None:
    class Failing(TinyEncoder):
        def encode(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            raise problem

    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "a", "text": "x"}', encoding="utf-8")
    monkeypatch.setattr(models, "load_encoder", lambda model=None: Failing("tiny"))
    with suppress(MemoryError):
        assert run("index", file, *at(tmp_path / "db")).code != 0
    assert names(tmp_path / "db") == []


def test_a_collection_that_was_there_stays(tmp_path: Path, run: Run, at: At) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"id": "a", "text": "x"}', encoding="utf-8")
    bad.write_text("{broken", encoding="utf-8")
    assert run("index", good, *at(tmp_path / "db")).code == 0
    assert run("index", bad, *at(tmp_path / "db")).code == 1
    assert names(tmp_path / "db") == ["zoo"]
