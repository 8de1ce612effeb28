"""Commands run in this process, with the tiny encoder in place of real weights."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner

from instruct_embeddings import InstructEncoder
from instruct_embeddings.cli import models
from instruct_embeddings.cli.app import app
from instruct_embeddings.testing import TinyEncoder
from tests.models import tiny_checkpoint
from tests.movers import TinyInstant

_REAL, _REAL_INSTRUCTED, _REAL_INSTANT = (
    models.load_encoder,
    models.load_instructed,
    models.load_instant,
)
ANIMALS = ("cat", "dog", "horse")
MOODS = ("happy", "sad")


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Run: TypeAlias = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_encoder", lambda model=None: TinyEncoder(model or "tiny"))
        patch.setattr(models, "load_instructed", _instructed)
        patch.setattr(models, "load_instant", TinyInstant)
        yield


def _instructed(model: str | None = None) -> InstructEncoder:
    return InstructEncoder.from_pretrained(model or tiny_checkpoint())


class Interrupted(TinyEncoder):
    """Ends the command, as Ctrl-C does, when so many texts are encoded and more are to be."""

    def __init__(self, most: int) -> None:
        super().__init__("tiny")
        self._most = most

    def encode(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        if self.encoded >= self._most:
            raise KeyboardInterrupt
        return super().encode(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def real_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_encoder", _REAL)
    monkeypatch.setattr(models, "load_instructed", _REAL_INSTRUCTED)
    monkeypatch.setattr(models, "load_instant", _REAL_INSTANT)


@pytest.fixture(scope="session")
def run() -> Run:
    def call(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 rows in which the animal and the mood cut across each other."""
    file = tmp_path_factory.mktemp("zoo") / "zoo.jsonl"
    rows = [
        {
            "id": f"{animal}-{mood}-{number}",
            "text": f"The {mood} {animal} number {number} {mood} near house {number % 5}",
            "animal": animal,
            "mood": mood,
        }
        for number in range(12)
        for animal in ANIMALS
        for mood in MOODS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory, run: Run, zoo: Path) -> Path:
    """A database with the collection `zoo` and one transform; tests only read it."""
    path = tmp_path_factory.mktemp("farm")
    assert run("index", zoo, *at(path)).code == 0
    adapted = run("adapt", "Which animal is it?", *at(path), "--metadata-key", "animal")
    assert adapted.code == 0
    return path


def at(path: Path, collection: str = "zoo") -> list[str]:
    return ["--store", f"chroma:{path}", "--collection", collection]


@pytest.fixture(name="at", scope="session")
def _at() -> Callable[..., list[str]]:
    return at
