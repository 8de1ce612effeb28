"""The same searches on each engine: plain, under a known and under a new instruction.

    python -m benchmarks.stores [--data FOLDER] [--sizes 20000 200000] [--stores Chroma Milvus]

Each store is filled anew with the same rows. Plain and adapted queries alternate in one loop, those
of the instant query follow; all return ids, texts, metadata and scores of ten rows. A plain one is
a single request of the engine's own client.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.corpora import Base, Batch, mix, read_base, row_batches
from benchmarks.environment import environment, load, save
from benchmarks.query import exact_ids, overlap, rescored_ids, spread, time_ms
from benchmarks.stores_engines import STORES
from benchmarks.stores_page import NEW, PARTS_OF
from instruct_embeddings import (
    InstructEncoder,
    InstructRetriever,
    MetadataGuide,
    TransformStore,
)
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.transform.transform import InstructionTransform

K = 10
QUERIES = 100
SAMPLE = 1000
# Candidates of an adapted query beside those that its transform has chosen.
DEPTHS = (100, 200, 400, 800)
# Queries that score every row, in collections up to this size.
EXACT_QUERIES, EXACT_ROWS = 20, 20_000
ASPECT = {True: "debian_packages.interface", False: "problem"}

_err = Console(stderr=True)


def main() -> None:
    """Fill, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--sizes", type=int, nargs="*", default=[20_000, 200_000])
    parser.add_argument("--stores", nargs="*", default=list(STORES), choices=list(STORES))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    base = read_base(encoder, arguments.data, arguments.seed)
    aspect = ASPECT[arguments.data is not None]
    kept = [row for row in load("stores").get("results", []) if not _again(row, arguments)]
    for size in arguments.sizes:
        filling = list(row_batches(base, size, arguments.seed))
        answers: dict[str, Any] = {}
        for name in arguments.stores:
            _err.print(f"{name}, {size:,} rows")
            whole = answers.get(PARTS_OF.get(name, ""))
            result = run(name, base, filling, aspect, arguments.seed, whole and whole["transform"])
            answers[name] = {part: result.pop(part) for part in ("ids", "transform")}
            if whole is not None:
                result["as undivided"] = {
                    way: [overlap(whole["ids"][way], found), _alike(whole["ids"][way], found)]
                    for way, found in answers[name]["ids"].items()
                }
            _err.print({key: result[key] for key in ("filling s", "over plain", "recall@10")})
            kept.append({"store": name, "n": size} | result)
            about = {"environment": environment(arguments.seed), "vectors": len(base.texts)}
            save("stores", {**about, "results": kept})
    show(kept)


def run(
    name: str,
    base: Base,
    filling: list[Batch],
    aspect: str,
    seed: int,
    known: InstructionTransform | None,
) -> dict[str, Any]:
    """Everything about one store of one size."""
    vectors = np.concatenate([rows for _, rows, _, _ in filling])
    with TemporaryDirectory(prefix="bench-") as folder, ExitStack() as open_for:
        started = time.perf_counter()
        store = STORES[name](Path(folder), vectors.shape[1], open_for)
        for batch in filling:
            store.put(batch)
        store.finish()
        filled = time.perf_counter() - started
        return {"filling s": round(filled, 1)} | measure(store, base, vectors, aspect, seed, known)


def measure(
    store: Any,
    base: Base,
    vectors: FloatArray,
    aspect: str,
    seed: int,
    known: InstructionTransform | None,
) -> dict[str, Any]:
    """Latencies, recall and first answers of a store that is filled.

    With a `known` transform, of the same rows in another store, that one ranks after the first
    answer, so that both can be compared.
    """
    rng = np.random.default_rng(seed + 1)
    holders = np.array([i for i, labels in enumerate(base.labels) if aspect in labels])
    parents = rng.choice(holders, QUERIES)
    queries, _ = mix(base, QUERIES, rng, parents)
    texts = [base.texts[i] for i in parents]
    collection, instruction = store.collection, base.instructions[aspect]
    store.plain(queries[0], K)  # loads the index
    sampling = time_ms(lambda: collection.sample(SAMPLE, seed=seed))
    fitted = InstructRetriever(collection, MetadataGuide(aspect), force=True)
    first = time_ms(lambda: fitted.search(queries[0], instruction=instruction, k=K))
    transform = fitted.transform(instruction)
    if known is not None:
        transform = replace(known, collection=transform.collection, prefetch=transform.prefetch)
        fitted = _ranking_by(transform, collection)
    instant = InstructRetriever(collection, instant=InstantQuery.from_pretrained())
    ask_new: dict[str, Any] = {"instruction": NEW, "k": K}
    at_once = time_ms(lambda: instant.search(queries[0], query=texts[0], **ask_new))
    ways: dict[str, Callable[[int], list[str]]] = {
        "plain": lambda i: list(store.plain(queries[i], K)),
        "adapted": lambda i: _ids(fitted.search(queries[i], instruction=instruction, k=K)),
        "instant": lambda i: _ids(instant.search(queries[i], query=texts[i], **ask_new)),
    }
    found: dict[str, list[list[str]]] = {way: [] for way in ways}
    milliseconds: dict[str, list[float]] = {way: [] for way in ways}

    def ask(way: str, i: int) -> None:
        milliseconds[way].append(time_ms(lambda: found[way].append(ways[way](i))))

    for i in range(QUERIES):
        ask("plain", i)
        ask("adapted", i)
    answers = instant.answers
    assert answers is not None
    reading = []
    for i in range(QUERIES):  # apart: it reads the texts of query and instruction by a model
        ask("instant", i)
        unit = queries[i][None]
        reading.append(time_ms(lambda unit=unit, i=i: answers.ranker(texts[i], unit, NEW)))
    best = {
        "plain": exact_ids(queries @ vectors.T, K),
        "adapted": rescored_ids(
            transform, queries, transform.query.fold(queries) @ vectors.T, vectors
        ),
        "instant": _instant(instant, texts, queries, vectors),
    }
    deeper = {}
    for depth in DEPTHS:
        way = f"adapted, {depth} candidates"
        retriever = _ranking_by(replace(transform, prefetch=depth), collection)
        found[way] = []
        taken = [
            time_ms(
                lambda row=row, r=retriever, to=found[way]: to.append(
                    _ids(r.search(row, instruction=instruction, k=K))
                )
            )
            for row in queries
        ]
        deeper[depth] = {"ms": spread(taken), "recall@10": overlap(best["adapted"], found[way])}
    if len(vectors) <= EXACT_ROWS:  # what is left where no index may miss rows
        found["adapted, every row"] = [
            _ids(fitted.search(row, instruction=instruction, k=K, exact=True))
            for row in queries[:EXACT_QUERIES]
        ]
    medians = {way: spread(values) for way, values in milliseconds.items()}
    return {
        "candidates": deeper,
        "ms": medians,
        "recall@10": {way: overlap(best[way], found[way]) for way in ways},
        "over plain": {
            way: round(medians[way]["median"] / medians["plain"]["median"], 2)
            for way in ("adapted", "instant")
        },
        "reading ms": spread(reading),
        "prefetch": transform.prefetch,
        "sampling s": round(sampling / 1e3, 2),
        "first answer s": {"fitted": round(first / 1e3, 2), "instant": round(at_once / 1e3, 2)},
        "ids": found,
        "transform": transform,
    }


def _ranking_by(transform: InstructionTransform, collection: VectorCollection) -> InstructRetriever:
    """A retriever that has nothing but a transform."""
    with TemporaryDirectory(prefix="bench-") as folder:
        store = TransformStore(folder)
        store.put(transform)
        retriever = InstructRetriever(collection, store=store, force=True)
        retriever.transform(transform.instruction)  # read while it is there
    return retriever


def _instant(
    retriever: InstructRetriever, texts: list[str], queries: FloatArray, vectors: FloatArray
) -> list[list[str]]:
    answers = retriever.answers
    assert answers is not None
    folded = [
        answers.ranker(text, row[None], NEW).fold(row[None])[0]
        for text, row in zip(texts, queries, strict=True)
    ]
    return exact_ids(np.stack(folded) @ vectors.T, K)


def _alike(first: list[list[str]], second: list[list[str]]) -> float:
    """Share of queries that find the same ten."""
    return float(np.mean([set(a) == set(b) for a, b in zip(first, second, strict=True)]))


def _ids(hits: Any) -> list[str]:
    return [_row(hit.id) for hit in hits]


def _row(name: str) -> str:
    """Qdrant numbers its points."""
    return name if name.startswith("r") else f"r{name}"


def _again(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    return row["store"] in arguments.stores and row["n"] in arguments.sizes


def show(rows: list[dict[str, Any]]) -> None:
    """One table."""
    table = Table()
    for heading in ("store", "rows", "plain ms", "adapted", "instant", "recall", "sample s"):
        table.add_column(heading)
    for row in rows:
        ms, over, recall = row["ms"], row["over plain"], row["recall@10"]
        table.add_row(
            row["store"],
            f"{row['n']:,}",
            str(ms["plain"]["median"]),
            f"{ms['adapted']['median']} ({over['adapted']})",
            f"{ms['instant']['median']} ({over['instant']})",
            f"{recall['plain']} / {recall['adapted']} / {recall['instant']}",
            str(row["sampling s"]),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
