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
from tests.models import WORDS, tiny_checkpoint

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


def test_an_index_that_is_killed_goes_on_without_a_double_or_a_loss(tmp_path: Path) -> None:
    file, database = tmp_path / "rows.jsonl", tmp_path / "db"
    rows = [json.dumps({"id": f"r{i}", "text": text}) for i, text in enumerate(texts())]
    file.write_text("\n".join(rows), encoding="utf-8")
    model = str(tiny_checkpoint())
    command = [sys.executable, "-m", "instruct_embeddings.cli", "index", str(file), "--json"]
    command += ["--path", str(database), "--collection", "rows", "--model", model]
    # While the database is made, after the first batch, and after the second.
    assert [run_until(command, database, n) for n in (0, 1, 600)] == [-9, -9, -9]
    before = written(database)
    assert 600 <= before < ROWS

    done = subprocess.run(command, capture_output=True, check=True, env=os.environ)
    told = json.loads(done.stdout)
    assert (told["skipped"], told["added"], told["rows"]) == (before, ROWS - before, ROWS)

    client = chromadb.PersistentClient(str(database))
    collection = client.get_collection("rows", embedding_function=None)
    stored = collection.get(include=["documents", "embeddings"])
    order = np.argsort([int(name[1:]) for name in stored["ids"]])
    assert [stored["ids"][i] for i in order] == [f"r{i}" for i in range(ROWS)]
    assert [(stored["documents"] or [])[i] for i in order] == texts()
    with InstructEncoder.from_pretrained(model) as encoder:
        expected = encoder.encode(texts())
    np.testing.assert_allclose(np.asarray(stored["embeddings"])[order], expected, atol=1e-5)
    # The index holds all of them too: each row is its own nearest, or ties with an equal text.
    found = collection.query(query_embeddings=expected[::100], n_results=1)
    nearest = [row[0] for row in found["documents"] or []]
    assert nearest == texts()[::100]
