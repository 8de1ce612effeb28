"""What smaller vectors lose: of the ten nearest, and of the many candidates of an instruction.

    python -m benchmarks.quantisation [--data FOLDER] [--seed 0]

All rows are compared, so that nothing is lost but by compression. Product quantisation is the plain
one, 256 centres for each part of a vector; int8 has one range for each dimension.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.cluster import MiniBatchKMeans

from benchmarks.corpora import mix, mixed_batches, read_base
from benchmarks.environment import environment, load, save
from benchmarks.pages import Tabulate
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.encoder import BASE_MODEL

ROWS, QUERIES = 20_000, 200
FEW, AGAIN, MANY = 10, 30, 600
_PARTS = (96, 48, 24)
_CENTRES = 256


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seed = arguments.seed
    with InstructEncoder.from_pretrained(BASE_MODEL) as encoder:
        base = read_base(encoder, arguments.data, seed)
    vectors = np.concatenate([rows for rows, _ in mixed_batches(base, ROWS, seed)])
    rng = np.random.default_rng(seed + 1)
    queries, _ = mix(base, QUERIES, rng, rng.choice(len(base.texts), QUERIES))
    best = _order(queries, vectors)
    smaller = {"float16": vectors.astype(np.float16).astype(np.float32), "int8": scalar(vectors)}
    smaller |= {f"product quantisation, {n} bytes": product(vectors, n, seed) for n in _PARTS}
    rows = [{"kept as": name} | lost(best, _order(queries, kept)) for name, kept in smaller.items()]
    about = {"vectors": len(base.texts), "rows": ROWS, "queries": QUERIES}
    save("quantisation", {"environment": environment(seed)} | about | {"results": rows})
    Console().print(*rows, sep="\n")


def scalar(vectors: FloatArray) -> FloatArray:
    """Rows as one byte a dimension would keep them, (n, d)."""
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    step = (high - low) / 255
    return np.asarray(np.rint((vectors - low) / step) * step + low, dtype=np.float32)


def product(vectors: FloatArray, parts: int, seed: int) -> FloatArray:
    """Rows as product quantisation would keep them, one byte for each part, (n, d)."""
    kept = np.empty_like(vectors)
    for columns in np.split(np.arange(vectors.shape[1]), parts):
        means = MiniBatchKMeans(_CENTRES, n_init=1, batch_size=2048, random_state=seed)
        kept[:, columns] = means.fit(vectors[:, columns]).cluster_centers_[means.labels_]
    return kept


def lost(best: IntArray, found: IntArray) -> dict[str, float]:
    """What is found of the exact order, shares in the mean over queries."""
    return {
        "the first ten": _share(best[:, :FEW], found[:, :FEW]),
        "the first ten, when thirty are compared again": _share(best[:, :FEW], found[:, :AGAIN]),
        "the first 600": _share(best[:, :MANY], found[:, :MANY]),
    }


def section(tabulate: Tabulate) -> str:
    """The table, and what it is of; empty where nothing was measured."""
    results: dict[str, Any] = load("quantisation")
    if not results:
        return ""
    names = [name for name in results["results"][0] if name != "kept as"]
    lines = [
        [row["kept as"], *(f"{row[name]:.3f}" for name in names)] for row in results["results"]
    ]
    return (
        f"Share that is found, of {results['rows']:,} rows mixed from {results['vectors']} real "
        "vectors of 384 numbers, all of them compared (`python -m benchmarks.quantisation`):\n\n"
        + tabulate(("vectors kept as", *names), lines)
    )


def _order(queries: FloatArray, vectors: FloatArray) -> IntArray:
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :MANY]


def _share(wanted: IntArray, found: IntArray) -> float:
    shares = [np.isin(ours, theirs).mean() for ours, theirs in zip(wanted, found, strict=True)]
    return round(float(np.mean(shares)), 3)


if __name__ == "__main__":
    main()
