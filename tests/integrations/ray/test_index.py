"""`index --ray`: files into every store, encoded by a cluster."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from instruct_embeddings import InstructEncoder
from instruct_embeddings.cli.app import app
from instruct_embeddings.stores import open_store
from instruct_embeddings.writing import Writer
from ray_instruct_embeddings import UpsertInto
from tests.postgres_server import postgres_server

ROWS = [{"id": f"r{n}", "text": f"the cat number {n}", "n": n} for n in range(30)]


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["index", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rows.jsonl"
    found.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return found


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[list[str]]:
    kinds = ["chroma", "qdrant"] + ["milvus"] * bool(find_spec("milvus_instruct_embeddings"))
    with postgres_server() as postgres:
        yield [postgres, *(f"{kind}:{tmp_path / kind}.db" for kind in kinds)]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::UserWarning:ray")
def test_files_are_indexed_into_every_store_once(
    cluster: Any, file: Path, addresses: list[str], folder: Path, encoder: InstructEncoder
) -> None:
    for address in addresses:
        options = ["--store", address, "-c", "rows", "--ray", "auto", "--model", folder, "--json"]
        first = json.loads(run(file, *options).stdout)
        assert (first["added"], first["skipped"], first["rows"]) == (30, 0, 30)
        again = json.loads(run(file, *options).stdout)
        assert (again["added"], again["skipped"], again["changed"]) == (0, 30, 0)
        changed = [row | {"text": "a dog"} if row["n"] == 3 else row for row in ROWS]
        other = file.with_name("other.jsonl")
        other.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
        kept = json.loads(run(other, *options).stdout)
        assert (kept["changed"], kept["examples"], kept["updated"]) == (1, ["r3"], 0)
        updated = json.loads(run(other, *options, "--update").stdout)
        assert (updated["updated"], updated["added"], updated["rows"]) == (1, 0, 30)
        opened = open_store(address, "rows")
        names = [Writer(address, "rows").stored_id(str(row["id"])) for row in changed]
        found = opened.fetch(names, vectors=True, records=True)
        assert list(found.texts) == [row["text"] for row in changed]
        assert [one["n"] for one in found.metadatas] == list(range(30))
        expected = encoder.encode([row["text"] for row in changed])
        np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
        del opened
    three = np.eye(3, dtype=np.float32)
    UpsertInto(addresses[0], "narrow", text_column=None)(
        {"id": ["a", "b", "c"], "embedding": three}
    )
    place = ["--store", addresses[0], "-c", "narrow", "--ray", "auto", "--model", folder]
    failed = run(file, *place)
    assert (failed.exit_code, "have 3 dimensions, those of" in failed.stderr) == (1, True)
    assert "Traceback" not in failed.stderr


def test_what_does_not_go_with_ray_is_a_usage_error(file: Path, tmp_path: Path) -> None:
    place = ["--store", tmp_path / "db", "-c", "rows", "--ray", "local"]
    assert "--rebuild is for collections of Chroma" in run(file, *place, "--rebuild").output
    server = ["--store", "chroma://127.0.0.1:1", "-c", "rows", "--ray", "local"]
    assert "do not go with --ray" in run(file, *server, "--timeout", "3").output
    assert not (tmp_path / "db").exists()
