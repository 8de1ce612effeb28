"""Commands on a collection that moved from Chroma to another store, with its transforms."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli import stores
from tests.unit.cli.conftest import Run, at
from tests.unit.cli.stores import Copied, Copy

QUESTION = "Which animal is it?"
Engine = tuple[str, Copy]


@pytest.fixture(scope="module", params=["postgres", "milvus", "qdrant", "qdrant-server"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """Address of a store, and what copies into it."""
    made: dict[str, AbstractContextManager[Engine]] = {
        "postgres": stores.postgres(),
        "milvus": stores.milvus(tmp_path_factory.mktemp("milvus")),
        "qdrant": stores.qdrant(tmp_path_factory.mktemp("qdrant")),
        "qdrant-server": stores.qdrant_on_a_server(),
    }
    with made[request.param] as found:
        yield found


@pytest.fixture(scope="module")
def rows(farm: Path) -> Copied:
    return stores.read(farm, "zoo")


@pytest.fixture(scope="module")
def moved(engine: Engine, rows: Copied) -> str:
    """Address of the store that holds the collection `zoo` now."""
    address, copy = engine
    copy("zoo", rows)
    return address


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_collection_that_moved_keeps_its_transforms(
    run: Run, farm: Path, moved: str, tmp_path: Path
) -> None:
    asked = ["query", "sad sad dog", "-k", 12, "-i", QUESTION, "--fitted", "--json"]
    there = ["--store", moved, "--collection", "zoo", "--transforms", tmp_path / "new"]
    assert "No transform is stored" in run(*asked, *there).stderr
    carry = ["transforms", "carry", "--from", farm, "--to", moved, "--collection", "zoo"]
    ran = run(*carry, "--json")
    assert (ran.code, len(ran.json["carried"])) == (0, 1)
    [one] = run("transforms", "list", "--store", moved, "--json").json["transforms"]
    assert one["key"] == ran.json["carried"][0]
    there = there[:4]
    hits = run(*asked, *there).json["adapted"]
    assert [hit["metadata"]["animal"] for hit in hits] == ["dog"] * 12
    before = run(*asked, *at(farm)).json["adapted"]
    assert [hit["text"] for hit in hits] == [hit["text"] for hit in before]
    assert run(*carry, "--json").json["carried"] == []


def test_another_name_and_one_folder_for_both(
    run: Run, farm: Path, engine: Engine, rows: Copied, tmp_path: Path
) -> None:
    address, copy = engine
    copy("renamed", rows)
    folder = ["--transforms", tmp_path]
    assert run("adapt", QUESTION, *at(farm), "--metadata-key", "animal", *folder).code == 0
    carry = ["transforms", "carry", "--from", farm, "--to", address, "--collection", "zoo"]
    ran = run(*carry, "--to-collection", "renamed", *folder)
    assert (ran.code, "1 transforms carried from chroma:" in ran.stdout) == (0, True)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_vectors_are_refused_and_nothing_is_written(
    run: Run, farm: Path, engine: Engine, rows: Copied, tmp_path: Path
) -> None:
    address, copy = engine
    copy("turned", replace(rows, vectors=-rows.vectors))
    carry = ["transforms", "carry", "--from", farm, "--to", address, "--collection", "zoo"]
    for name, problem in (("turned", "0 are in 'turned'"), ("nowhere", "nowhere")):
        ran = run(*carry, "--to-collection", name)
        assert (ran.code, ran.stdout, problem in ran.stderr) == (1, "", True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_transform_of_it_is_named(
    run: Run, farm: Path, moved: str, tmp_path: Path
) -> None:
    carry = ["transforms", "carry", "--from", farm, "--to", moved, "--collection", "zoo"]
    ran = run(*carry, "--transforms", tmp_path)
    assert (ran.code, ran.stdout) == (1, "")
    assert f"No transform of 'zoo' is stored in {tmp_path}" in ran.stderr


def test_it_is_adapted_asked_explained_and_evaluated(
    run: Run, moved: str, rows: Copied, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTRUCT_EMBEDDINGS_STORE", moved)
    there = ["--collection", "zoo", "--transforms", tmp_path / "t", "--json"]
    fitted = run("adapt", QUESTION, *there, "--metadata-key", "animal")
    assert (fitted.code, fitted.json["collection"]) == (0, "zoo")
    where = ["--where", '{"mood": "sad"}']
    asked = run("query", "sad dog", *there, "-i", QUESTION, "-k", 5, *where)
    assert {hit["metadata"]["animal"] for hit in asked.json["adapted"]} == {"dog"}
    assert {hit["metadata"]["mood"] for hit in asked.json["adapted"]} == {"sad"}
    assert "does not record which model filled it" in asked.stderr
    assert run("explain", "sad dog", *there, "-i", QUESTION).code == 0
    questions = tmp_path / "questions.jsonl"
    line = {"query": "a dog", "relevant": [asked.json["adapted"][0]["id"]]}
    questions.write_text(json.dumps(line), encoding="utf-8")
    assert run("evaluate", questions, *there, "-i", QUESTION).code == 0
    again = run("index", zoo, "--collection", "zoo", "--json").json
    assert (again["added"], again["skipped"], again["changed"]) == (0, len(rows.ids), 0)


def test_a_missing_collection_is_told_which_are_there(run: Run, moved: str) -> None:
    ran = run("query", "dog", "--store", moved, "--collection", "circus")
    assert (ran.code, ran.stdout) == (1, "")
    assert "circus" in ran.stderr
    assert "zoo" in ran.stderr


def test_vectors_of_another_length_are_refused(run: Run, engine: Engine, rows: Copied) -> None:
    address, copy = engine
    copy("short", replace(rows, vectors=rows.vectors[:, :16]))
    ran = run("query", "dog", "--store", address, "--collection", "short")
    assert (ran.code, ran.stdout) == (1, "")
    assert "have 16 dimensions, those of 'tiny' have 32" in ran.stderr
    assert "--model" in ran.stderr
