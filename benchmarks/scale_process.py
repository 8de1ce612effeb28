"""Processes whose memory is watched, and the searches that some of them do.

python -m benchmarks.scale_process plain|adapted|exact DATABASE COLLECTION INSTRUCTION KEY
"""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

import chromadb

QUERIES = 20
EXACT_QUERIES = 2
K = 10
KINDS = ("plain", "adapted", "exact")
_TICK = 0.05


@dataclass(frozen=True)
class Ended:
    """A process that is over.

    Attributes:
        seconds: How long it ran.
        peak: Most resident memory, in MB, as the kernel noted it.
        killed: Whether it was killed.
        before, after: Rows in the database when it began and when it ended.
        first: Seconds until it had stored a first row; None where it stored none.
        damaged: Whether it refused an index that Chroma had not written to its end.
        rebuilt: Whether it was told to make a new collection.
        told: The JSON that it wrote, if it came to that.
    """

    seconds: float
    peak: float
    killed: bool
    before: int
    after: int
    first: float | None
    damaged: bool
    rebuilt: bool
    told: Any

    def to_dict(self) -> dict[str, Any]:
        """What is kept of an indexing run."""
        return {
            "killed": self.killed,
            "rows before": self.before,
            "rows after": self.after,
            "seconds": round(self.seconds, 1),
            "seconds to the first new row": self.first and round(self.first, 1),
            "made the index anew": self.rebuilt,
            "peak MB": self.peak,
        }


def run_whole(command: list[str]) -> Ended:
    """Run a command to its end."""
    return run_until(command, Path(), None, 0.0)


def run_until(command: list[str], database: Path, rows: int | None, delay: float) -> Ended:
    """Run a command; where rows are given, kill it so long after the database holds as many."""
    started, before, first, peak = time.monotonic(), rows_written(database), None, 0.0
    deadline = None
    with (
        TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            now, there = time.monotonic(), rows_written(database)
            if first is None and there > before:
                first = now - started
            if rows is not None and deadline is None and there >= rows:
                deadline = now + delay
            if deadline is not None and now >= deadline:
                process.kill()
            time.sleep(_TICK)
        assert process.stdout is not None
        told = process.stdout.read()
        status = process.wait()
        messages.seek(0)
        damaged = status == 1 and b"--rebuild" in messages.read()
    killed = status == -signal.SIGKILL
    if status and not killed and not damaged:
        raise RuntimeError(f"{command} ended with {status}")
    return Ended(
        seconds=time.monotonic() - started,
        peak=round(peak, 1),
        killed=killed,
        before=before,
        after=rows_written(database),
        first=first,
        damaged=damaged,
        rebuilt="--rebuild" in command,
        told=json.loads(told) if told and not killed else None,
    )


def rows_written(database: Path) -> int:
    """Rows that a process has committed to a database; as none is deleted, their largest number."""
    file = database / "chroma.sqlite3"
    if not file.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
            return int(found.execute("SELECT max(id) FROM embeddings").fetchone()[0] or 0)
    except sqlite3.OperationalError:  # locked, or its tables are being made
        return 0


def _peak(process: int) -> float:
    """Most resident memory of a process so far, in MB; 0 where it is over."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def main() -> None:
    """Search in one way, and say how long it took."""
    kind, database, name, instruction, key = sys.argv[1:]
    client = chromadb.PersistentClient(database)
    collection = client.get_collection(name, embedding_function=None)
    ids = [f"r{row}" for row in range(0, collection.count(), collection.count() // QUERIES)]
    got = collection.get(ids[:QUERIES], include=["embeddings", "metadatas"])
    rows = zip(got["embeddings"], got["metadatas"] or [], strict=True)
    asked = [(vector, entry[key]) for vector, entry in rows]
    if kind == "plain":
        told = plain(collection, asked, key)
    else:
        told = adapted(collection, asked, instruction, key, exact=kind == "exact")
    sys.stdout.write(json.dumps(told))


def plain(collection: chromadb.Collection, asked: list[Any], key: str) -> dict[str, Any]:
    """Queries of Chroma alone: what others are compared with."""

    def search(vector: Any) -> list[Any]:
        found = collection.query(query_embeddings=[vector], n_results=K)
        return [entry[key] for entry in (found["metadatas"] or [[]])[0]]

    return timed(search, asked)


def adapted(
    collection: chromadb.Collection, asked: list[Any], instruction: str, key: str, *, exact: bool
) -> dict[str, Any]:
    """A transform is fitted, and searched under."""
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings import InstructRetriever, MetadataGuide

    started = time.perf_counter()
    retriever = InstructRetriever(ChromaVectors(collection), MetadataGuide(key), force=True)
    transform = retriever.transform(instruction)
    fitted = time.perf_counter() - started

    def search(vector: Any) -> list[Any]:
        hits = retriever.search(vector, instruction=instruction, k=K, exact=exact)
        return [hit.metadata[key] for hit in hits]

    told = timed(search, asked[:EXACT_QUERIES] if exact else asked)
    return {"seconds to fit": round(fitted, 2), "chosen": dict(transform.report.chosen), **told}


def timed(search: Callable[[Any], list[Any]], asked: list[Any]) -> dict[str, Any]:
    """Seconds of the first search, the median of the others, and how many hits are alike."""
    seconds, alike = [], []
    for vector, wanted in asked:
        started = time.perf_counter()
        found = search(vector)
        seconds.append(time.perf_counter() - started)
        alike.append(sum(one == wanted for one in found) / K)
    return {
        "searches": len(seconds),
        "seconds of the first search": round(seconds[0], 3),
        "ms of the others": round(1e3 * median(seconds[1:]), 2),
        "share of hits that are alike": round(sum(alike) / len(alike), 3),
    }


if __name__ == "__main__":
    main()
