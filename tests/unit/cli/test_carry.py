"""Commands on a table of PostgreSQL, and transforms of the collection of Chroma that it was."""

import json
from collections.abc import Iterator
from pathlib import Path

import chromadb
import psycopg
import pytest

from tests.postgres_server import postgres_server
from tests.unit.cli.conftest import Run, at

QUESTION = "Which animal is it?"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as address:
        yield address


def copied(farm: Path, address: str, table: str, *, sign: int = 1) -> None:
    """The rows of the collection, as a user would copy them."""
    client = chromadb.PersistentClient(str(farm))
    rows = client.get_collection("zoo", embedding_function=None).get(
        include=["embeddings", "documents", "metadatas"]
    )
    columns = zip(
        rows["ids"],
        rows["embeddings"] if rows["embeddings"] is not None else [],
        rows["documents"] or [],
        rows["metadatas"] or [],
        strict=True,
    )
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE {table} (id text PRIMARY KEY, embedding vector(32), text text, "  # type: ignore[call-overload]
            "metadata jsonb)"
        )
        connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")  # type: ignore[call-overload]
        for row, vector, text, metadata in columns:
            connection.execute(
                f"INSERT INTO {table} VALUES (%s, %s, %s, %s)",  # type: ignore[call-overload]
                (row, str([sign * float(x) for x in vector]), text, json.dumps(dict(metadata))),
            )


@pytest.fixture(scope="module")
def moved(farm: Path, postgres: str) -> str:
    copied(farm, postgres, "zoo")
    return postgres


def test_a_collection_that_moved_keeps_its_transforms(
    run: Run, farm: Path, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    there = ["--store", moved, "--collection", "zoo"]
    asked = ["query", "sad sad dog", *there, "-k", 12, "-i", QUESTION, "--fitted", "--json"]
    assert "No transform is stored" in run(*asked).stderr
    carry = ["transforms", "carry", "--from", farm, "--to", moved, "--collection", "zoo", "--json"]
    ran = run(*carry)
    assert (ran.code, len(ran.json["carried"])) == (0, 1)
    assert Path(ran.json["folder"]).is_relative_to(tmp_path)
    [one] = run("transforms", "list", "--store", moved, "--json").json["transforms"]
    assert one["key"] == ran.json["carried"][0]
    ids = [hit["id"] for hit in run(*asked).json["adapted"]]
    assert all(one.startswith("dog") for one in ids)
    before = ["query", "sad sad dog", *at(farm), "-k", 12, "-i", QUESTION, "--fitted", "--json"]
    assert ids == [hit["id"] for hit in run(*before).json["adapted"]]
    assert run(*carry).json["carried"] == []


def test_another_name_and_one_folder_for_both(
    run: Run, farm: Path, postgres: str, tmp_path: Path
) -> None:
    copied(farm, postgres, "renamed")
    folder = ["--transforms", tmp_path]
    assert run("adapt", QUESTION, *at(farm), "--metadata-key", "animal", *folder).code == 0
    carry = ["transforms", "carry", "--from", farm, "--to", postgres, "--collection", "zoo"]
    ran = run(*carry, "--to-collection", "renamed", *folder)
    assert (ran.code, "1 transforms carried from chroma:" in ran.stdout) == (0, True)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_vectors_are_refused_and_nothing_is_written(
    run: Run, farm: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    copied(farm, postgres, "turned", sign=-1)
    carry = ["transforms", "carry", "--from", farm, "--to", postgres, "--collection", "zoo"]
    ran = run(*carry, "--to-collection", "turned")
    assert (ran.code, ran.stdout) == (1, "")
    assert "72 are in 'turned' and 0 have the same vector there" in ran.stderr
    ran = run(*carry, "--to-collection", "nowhere")
    assert (ran.code, "nowhere" in ran.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_transform_of_it_is_named(
    run: Run, farm: Path, moved: str, tmp_path: Path
) -> None:
    carry = ["transforms", "carry", "--from", farm, "--to", moved, "--collection", "zoo"]
    ran = run(*carry, "--transforms", tmp_path)
    assert (ran.code, ran.stdout) == (1, "")
    assert f"No transform of 'zoo' is stored in {tmp_path}" in ran.stderr


def test_a_table_of_postgresql_is_adapted_asked_and_explained(
    run: Run, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTRUCT_EMBEDDINGS_STORE", moved)
    there = ["--collection", "zoo", "--transforms", tmp_path, "--json"]
    fitted = run("adapt", QUESTION, *there, "--metadata-key", "animal")
    assert (fitted.code, fitted.json["store"]) == (0, fitted.json["store"])
    where = ["--where", '{"mood": "sad"}']
    asked = run("query", "sad dog", *there, "-i", QUESTION, "-k", 5, *where)
    assert {hit["metadata"]["animal"] for hit in asked.json["adapted"]} == {"dog"}
    assert {hit["metadata"]["mood"] for hit in asked.json["adapted"]} == {"sad"}
    assert run("explain", "sad dog", *there, "-i", QUESTION).code == 0
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "a dog", "relevant": ["dog-sad-1"]}', encoding="utf-8")
    assert run("evaluate", questions, *there, "-i", QUESTION).code == 0
