"""Indexing that is killed at any point and started again: no row twice, none lost."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import chromadb
import numpy as np
import pytest

from instruct_embeddings import InstructEncoder
from tests.faults.conftest import Inject
from tests.faults.ledger import Fault
from tests.models import WORDS, tiny_checkpoint
from tests.unit.cli.test_rebuild import tear

pytestmark = pytest.mark.faults

ROWS = 1600
PATIENCE = 60.0


def texts() -> list[str]:
    drawn = np.random.default_rng(0).choice(np.array(WORDS), (ROWS, 4))
    return [" ".join(words) for words in drawn.tolist()]


def written(database: Path) -> int:
    """Rows that another process has committed to a database."""
    file = database / "chroma.sqlite3"
    if not file.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
            return int(found.execute("SELECT count(*) FROM embeddings").fetchone()[0])
    except sqlite3.OperationalError:  # locked, or its tables are being made
        return 0


def run_until(command: list[str], database: Path, rows: int) -> int:
    """Kill a command as soon as it has stored so many rows; its exit status."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        patience = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < patience:
            if database.is_dir() and written(database) >= rows:
                process.kill()
            time.sleep(0.005)
        process.kill()
        return process.wait()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": f"r{i}", "text": text}) for i, text in enumerate(texts())]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "db"


def command(database: Path) -> list[str]:
    file = str(database.with_name("rows.jsonl"))
    start = [sys.executable, "-m", "instruct_embeddings.cli", "index", file, "--json"]
    return [*start, "--store", str(database), "--collection", "rows", "--model", model()]


def model() -> str:
    return str(tiny_checkpoint())


def run_whole(database: Path, *options: str) -> dict[str, int]:
    """Index to the end; what the command prints."""
    whole = [*command(database), *options]
    done = subprocess.run(whole, capture_output=True, check=True, env=os.environ)
    document: dict[str, int] = json.loads(done.stdout)
    return document


def check(fault: Fault, database: Path) -> None:
    """Every row once, with its text and its vector, and found by it."""
    client = chromadb.PersistentClient(str(database))
    collection = client.get_collection("rows", embedding_function=None)
    stored = collection.get(include=["documents", "embeddings"])
    fault.lost = ROWS - len(set(stored["ids"]))
    order = np.argsort([int(name[1:]) for name in stored["ids"]])
    assert [stored["ids"][i] for i in order] == [f"r{i}" for i in range(ROWS)]
    assert [(stored["documents"] or [])[i] for i in order] == texts()
    with InstructEncoder.from_pretrained(model()) as encoder:
        expected = encoder.encode(texts())
    np.testing.assert_allclose(np.asarray(stored["embeddings"])[order], expected, atol=1e-5)
    # The index holds all of them too: each row is its own nearest, or ties with an equal text.
    found = collection.query(query_embeddings=expected[::100], n_results=1)
    nearest = [row[0] for row in found["documents"] or []]
    for text, wanted in zip(nearest, texts()[::100], strict=True):
        fault.count(wrong=text != wanted)


@pytest.mark.timeout(240)  # four processes, each of which loads everything
def test_an_index_that_is_killed_goes_on_without_a_double_or_a_loss(
    database: Path, inject: Inject
) -> None:
    with inject("index: SIGKILL, three times") as fault:
        # While the database is made, after the first batch, and after the second.
        killed = [run_until(command(database), database, n) for n in (0, 1, 600)]
        assert killed == [-9, -9, -9]
        before = written(database)
        assert 600 <= before < ROWS
        done = run_whole(database)
        fault.count(wrong=(done["skipped"], done["added"]) != (before, ROWS - before))
        check(fault, database)


def test_an_index_that_chroma_had_half_written_is_refused_and_rebuilt(
    database: Path, inject: Inject
) -> None:
    """The files as a kill in that moment leaves them; it lasts too short to be met each time."""
    run_whole(database)
    tear(database)
    with inject("index: killed while Chroma writes its own index") as fault:
        refused = subprocess.run(command(database), capture_output=True, text=True, check=False)
        fault.count(wrong=refused.returncode != 1 or "--rebuild" not in refused.stderr)
        fault.count(wrong=run_whole(database, "--rebuild")["added"] != ROWS)
        check(fault, database)
