"""Stores whose disk is full while rows are written: a small one in memory, which then grows."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import CollectionError
from instruct_embeddings.stores import open_store
from instruct_embeddings.writing import Records, Writer
from tests.faults.conftest import Inject
from tests.faults.ledger import Fault
from tests.postgres_server import ensure_running, postgres_server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ROWS, DIMENSION = 400, 1000
_MOST = 200
_SECONDS = 60


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    folder: Path

    def resize(self, megabytes: int) -> None:
        """Give it another size."""
        _run("mount", "-o", f"remount,size={megabytes}m", str(self.folder))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = Path(mkdtemp(prefix="full-", dir="/tmp"))
    try:
        _run("mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "none", str(folder))
    except (OSError, subprocess.CalledProcessError):
        folder.rmdir()
        pytest.skip("no disk may be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=False)
    folder.rmdir()


def batch(number: int) -> Records:
    vectors = np.random.default_rng(number).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"{number:04}-{row:04}" for row in range(ROWS)]
    return Records(ids, vectors, [f"text of {one}" for one in ids], [{"n": number}] * ROWS)


def kept(collection: Any, wanted: Records, ids: list[str]) -> int:
    """How many rows of a batch are there, as they were written."""
    rows = collection.fetch(ids, vectors=True, records=True)
    good = [
        text == wanted.texts[place] and np.allclose(vector, wanted.vectors[place], atol=1e-5)
        for place, text, vector in zip(
            map(ids.index, rows.ids), rows.texts, rows.vectors, strict=True
        )
    ]
    return sum(good)


@pytest.mark.parametrize("engine", ["milvus", "qdrant", "postgresql"])
def test_rows_that_were_taken_survive_a_full_disk(engine: str, disk: Disk, inject: Inject) -> None:
    name = f"the disk of {engine} is full while rows are written"
    with inject(name) as fault, ExitStack() as stack:
        address = f"{engine}:{disk.folder / 'rows.db'}"
        if engine == "postgresql":
            disk.resize(100)
            address = stack.enter_context(postgres_server(str(disk.folder)))
        writer = Writer(address, "rows")
        taken = fill(writer, fault)
        disk.resize(1000)
        if engine == "postgresql":
            ensure_running(address)
        end = time.monotonic() + _SECONDS
        while fault.ask(partial(writer.write, batch(taken)), None):  # the same again
            assert time.monotonic() < end
            time.sleep(0.5)
        writer.finish()
        collection = open_store(address, "rows")
        for number in range(taken + 1):
            wanted = batch(number)
            ids = [writer.stored_id(row) for row in wanted.ids]
            fault.lost += ROWS - kept(collection, wanted, ids)
            fault.ask(partial(nearest, collection, wanted.vectors[7]), (ids[7],))
        assert collection.count() == (taken + 1) * ROWS
        collection.close()  # type: ignore[attr-defined]


def test_an_index_of_chroma_that_a_full_disk_has_torn_is_told(disk: Disk, inject: Inject) -> None:
    with inject("the disk of chroma is full while rows are written") as fault:
        place = disk.folder / "rows.db"
        writer = Writer(f"chroma:{place}", "rows")
        taken = fill(writer, fault)
        disk.resize(1000)
        error = fault.ask(partial(writer.write, batch(taken)), None)
        # Whether its index was being written at that moment is chance; the records are whole.
        assert error is None or "--rebuild --store chroma:" in str(error)
        with closing(sqlite3.connect(place / "chroma.sqlite3")) as records:
            (rows,) = records.execute("SELECT count(*) FROM embeddings").fetchone()
        fault.lost += max(0, taken * ROWS - rows)


def fill(writer: Writer, fault: Fault) -> int:
    """Write until the disk is full; how many batches were taken."""
    taken = 0
    while (error := fault.ask(partial(writer.write, batch(taken)), None)) is None:
        taken += 1
        assert taken < _MOST
    assert isinstance(error, CollectionError)
    assert f"did not take {ROWS} rows, '{taken:04}-0000'" in str(error)
    assert "Correct what it says and run the same again" in str(error)
    assert taken > 0
    writer.close()
    return taken


def nearest(collection: Any, vector: FloatArray) -> tuple[str, ...]:
    found: tuple[str, ...] = collection.search(vector, k=1).ids
    return found
