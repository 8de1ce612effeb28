"""What a new instruction and a query cost as a collection grows, ours beside the peers.

    python -m benchmarks.peers_scale --data FOLDER [--quick]

Vectors are real ones mixed in pairs (`benchmarks.corpora`). Each method has a process of its
own for each size. What an index serves is asked of a persistent Chroma up to 100,000 vectors, and
at a million where `benchmarks.query` has left its collection, which takes half an hour.
What changes every stored vector gets them as a file, changes all of them for the instruction and
scans all of them for a query. Encoding all texts again is measured on a slice and multiplied.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.corpora import Base, mix, mixed_batches, read_base
from benchmarks.environment import environment, save
from benchmarks.peers_methods import SCANNING
from benchmarks.peers_process import (
    BY_INDEX,
    BY_TEXTS,
    Job,
    measure,
    open_collection,
    rates,
    samples,
)
from benchmarks.query import build
from benchmarks.tasks import CACHE
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.encoder import BASE_MODEL

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000,)
LARGEST_BUILT = 100_000
SAMPLES, QUICK_SAMPLES = (250, 500, 1000), (250,)
# Samples are measured at one size only: reading one hardly depends on it.
SAMPLED = 10_000
ASPECT = "massive_en.intent"
_LABELLED = 1000
_QUERIES, _TEXTS, _ROUNDS = 100, 256, 3
_QUICK_TEXTS, _QUICK_ROUNDS = 64, 1
_SPAWN = get_context("spawn")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--quick", action="store_true", help="1,000 vectors; keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remark", help="what a reader of the figures should know of the run")
    arguments = parser.parse_args()
    run(arguments.data, arguments.seed, quick=arguments.quick, remark=arguments.remark)


def run(data: Path, seed: int, *, quick: bool, remark: str | None = None) -> dict[str, Any]:
    """All methods at all sizes; results are kept unless it is quick."""
    base = read_base(InstructEncoder.from_pretrained(BASE_MODEL), data, seed)
    sizes = QUICK_SIZES if quick else SIZES
    few, rounds = (_QUICK_TEXTS, _QUICK_ROUNDS) if quick else (_TEXTS, _ROUNDS)
    texts = base.texts[:: len(base.texts) // few][:few]
    instruction = base.instructions[ASPECT]
    rate = _apart(rates, texts, instruction, BASE_MODEL, rounds)
    rows: list[dict[str, Any]] = []
    for size in sizes:
        jobs = plan(base, size, seed)
        named = track(jobs, description=f"{size:,} vectors", console=Console(stderr=True))
        rows += [{"n": size, **_apart(measure, job)} for job in named]
        if size == min(SAMPLED, max(sizes)):
            sampled = _apart(samples, jobs[0], QUICK_SAMPLES if quick else SAMPLES)
    results = {
        "environment": environment(seed),
        "remark": remark,
        "vectors": len(base.texts),
        "aspect": ASPECT,
        "instruction": instruction,
        "labels": max(row["labels"] for row in rows),
        "threads": torch.get_num_threads(),
        "texts a second": rate,
        "samples": sampled,
        "rows": rows,
    }
    results["rows"] += [again(results, name, n) for n in sizes for name in BY_TEXTS]
    show(results)
    if not quick:
        save("peers-scale", results)
    return results


def plan(base: Base, size: int, seed: int) -> list[Job]:
    """The jobs of one size; what they read is made here where it is not there yet."""
    file = CACHE / f"mixed-{len(base.texts)}-{size}.npy"
    parents = _write_vectors(base, size, seed, file)
    folder = CACHE / f"chroma-{len(base.texts)}-{size}"
    methods: tuple[str, ...] = SCANNING
    if size <= LARGEST_BUILT or (folder.is_dir() and open_collection(folder).count() == size):
        build(base, size, seed)
        methods = (*BY_INDEX, *SCANNING)
    sample, labels = _labelled(base, file, parents)
    rng = np.random.default_rng(seed + 1)
    holders = np.array([i for i, own in enumerate(base.labels) if ASPECT in own])
    queries, _ = mix(base, _QUERIES, rng, rng.choice(holders, _QUERIES))
    job = Job("", folder, file, ASPECT, base.instructions[ASPECT], sample, labels, queries, seed)
    return [replace(job, method=method) for method in methods]


def _write_vectors(base: Base, size: int, seed: int, file: Path) -> IntArray:
    """The stored vectors as a file, and the position of the parent that labels each."""
    there = file.is_file()
    fresh = file.with_suffix(".writing.npy")
    rows = (
        None
        if there
        else np.lib.format.open_memmap(fresh, "w+", np.float32, (size, base.vectors.shape[1]))
    )
    parents = np.empty(size, dtype=np.int64)
    start = 0
    for vectors, own in mixed_batches(base, size, seed):
        stop = start + len(own)
        parents[start:stop] = own
        if rows is not None:
            rows[start:stop] = vectors
        start = stop
    if rows is not None:
        rows.flush()
        fresh.replace(file)
    return parents


def _labelled(base: Base, file: Path, parents: IntArray) -> tuple[FloatArray, list[str]]:
    """The first stored vectors that carry the label; labels of a single row teach nobody."""
    rows = [i for i, own in enumerate(parents[: 20 * _LABELLED]) if ASPECT in base.labels[own]]
    rows = rows[:_LABELLED]
    labels = [base.labels[parents[i]][ASPECT] for i in rows]
    kept = [place for place, label in enumerate(labels) if labels.count(label) > 1]
    vectors = np.load(file, mmap_mode="r")
    return np.array(vectors[[rows[i] for i in kept]]), [labels[i] for i in kept]


def again(results: dict[str, Any], method: str, n: int) -> dict[str, Any]:
    """A method that encodes all texts, from its measured rate; its index is asked like any."""
    seconds = round(n / results["texts a second"][method], 1)
    return {"n": n, "method": method, "seconds": seconds, "extrapolated": True}


def _apart(function: Callable[..., None], *arguments: Any) -> Any:
    """What a function sends from a process of its own."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=function, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit(f"{function.__name__} failed; see the traceback above.") from None
    finally:
        process.join()


def show(results: dict[str, Any]) -> None:
    """One line a method and size."""
    table = Table(title=f"{results['instruction']} ({results['labels']} labels)")
    for heading in ("vectors", "method", "s a new instruction", "ms a query (p95)", "MB"):
        table.add_column(heading)
    for row in sorted(results["rows"], key=lambda row: row["n"]):
        spent = row.get("ms")
        milliseconds = f"{spent['median']} ({spent['p95']})" if spent else ""
        table.add_row(
            f"{row['n']:,}",
            row["method"],
            str(row["seconds"]),
            milliseconds,
            str(row.get("MB", "")),
        )
    Console(width=140).print(table)
    Console().print(results["texts a second"], results["samples"])


if __name__ == "__main__":
    main()
