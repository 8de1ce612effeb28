"""Latency and recall of adapted queries beside plain Chroma queries, as a collection grows.

    python -m benchmarks.query [--data FOLDER] [--sizes 10000 100000 1000000]

Collections are built once and kept under .bench/. Plain and adapted queries alternate in one loop,
both return ids, texts, metadata and scores of ten rows.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import chromadb
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.corpora import Base, mix, read_base, row_batches
from benchmarks.environment import environment, save
from benchmarks.tasks import CACHE
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import EncoderGuide, InstructEncoder, InstructRetriever, MetadataGuide
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.retrieval.ranking import DEFAULT_RESCORE
from instruct_embeddings.transform.transform import InstructionTransform

K = 10
QUERIES = 200
EXACT_QUERIES = 60
EXACT_TIMED = 10
PREFETCHES = (10, 100, 300, 600, 1000)
ENCODED = 256

_err = Console(stderr=True)


def main() -> None:
    """Build, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    base = read_base(encoder, arguments.data, arguments.seed)
    per_text = seconds_per_text(encoder, base)
    results = []
    for size in arguments.sizes:
        collection, vectors = build(base, size, arguments.seed)
        result = measure(collection, vectors, base, arguments.seed)
        result["re-encoding seconds"] = round(per_text * size, 1)
        results.append(result)
        show(result)
    data = "dev texts" if arguments.data else "shipped tickets"
    about = {"environment": environment(arguments.seed), "base": data, "vectors": len(base.texts)}
    Console().print(f"kept in {save('query', {**about, 'results': results})}")


def build(base: Base, size: int, seed: int) -> tuple[chromadb.Collection, FloatArray]:
    """The collection of a size, built unless it is there, and its vectors in order."""
    client = chromadb.PersistentClient(str(CACHE / f"chroma-{len(base.texts)}-{size}"))
    collection = client.get_or_create_collection(
        "bench", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    there = collection.count()
    vectors = np.empty((size, base.vectors.shape[1]), dtype=np.float32)
    start = 0
    batches = row_batches(base, size, seed)
    for ids, rows, texts, labels in track(
        batches, description=f"building {size:,}", console=_err, total=-(-size // 5000)
    ):
        stop = start + len(rows)
        vectors[start:stop] = rows
        if stop > there:
            collection.upsert(ids, embeddings=rows, metadatas=labels, documents=texts)
        start = stop
    return collection, vectors


def measure(
    collection: chromadb.Collection, vectors: FloatArray, base: Base, seed: int
) -> dict[str, Any]:
    """Everything about one size."""
    stored = ChromaVectors(collection)
    rng = np.random.default_rng(seed + 1)
    rows = []
    for aspect, instruction in base.instructions.items():
        holders = np.array([i for i, labels in enumerate(base.labels) if aspect in labels])
        queries, _ = mix(base, QUERIES, rng, rng.choice(holders, QUERIES))
        collection.query(query_embeddings=[queries[0]], n_results=K)  # loads the index
        retriever = InstructRetriever(stored, MetadataGuide(aspect), force=True)
        started = time.perf_counter()
        retriever.search(queries[0], instruction=instruction, k=K)
        first = time.perf_counter() - started
        rows.append(
            {
                "aspect": aspect,
                "first answer s": round(first, 2),
                "prefetch": retriever.transform(instruction).prefetch,
                **latencies(collection, retriever, instruction, queries),
                **recalls(stored, vectors, retriever, instruction, queries[:EXACT_QUERIES]),
            }
        )
    return {
        "n": len(vectors),
        "aspects": rows,
        "first answer without labels s": unlabelled(stored, instruction, queries[0]),
        "exact": exact_seconds(retriever, instruction, queries[: EXACT_TIMED + 1]),
    }


def unlabelled(stored: ChromaVectors, instruction: str, query: FloatArray) -> float:
    """Seconds of a first answer that an encoder teaches, loading it included."""
    retriever = InstructRetriever(stored, EncoderGuide(), force=True)
    started = time.perf_counter()
    retriever.search(query, instruction=instruction, k=K)
    return round(time.perf_counter() - started, 2)


def exact_seconds(
    retriever: InstructRetriever, instruction: str, queries: FloatArray
) -> dict[str, float]:
    """Seconds of a first exact search, which copies the collection, and of the slowest further."""
    retriever.refresh()
    seconds = []
    for query in queries:
        started = time.perf_counter()
        retriever.search(query, instruction=instruction, k=K, exact=True)
        seconds.append(time.perf_counter() - started)
    return {"first s": round(seconds[0], 2), "slowest further s": round(max(seconds[1:]), 2)}


def latencies(
    collection: chromadb.Collection,
    retriever: InstructRetriever,
    instruction: str,
    queries: FloatArray,
) -> dict[str, Any]:
    """Milliseconds of plain and adapted queries, taken in turns."""
    plain = [time_ms(lambda: collection.query(query_embeddings=[queries[0]], n_results=K))]
    adapted = [time_ms(lambda: retriever.search(queries[0], instruction=instruction, k=K))]
    for query in queries:
        plain.append(
            time_ms(lambda row=query: collection.query(query_embeddings=[row], n_results=K))
        )
        adapted.append(
            time_ms(lambda row=query: retriever.search(row, instruction=instruction, k=K))
        )
    return {
        "plain ms": spread(plain[1:]),
        "adapted ms": spread(adapted[1:]),
        "ratio of medians": round(median(adapted[1:]) / median(plain[1:]), 2),
    }


def recalls(
    stored: ChromaVectors,
    vectors: FloatArray,
    retriever: InstructRetriever,
    instruction: str,
    queries: FloatArray,
) -> dict[str, Any]:
    """Recall@10 of the folded ranking by prefetch, and of the whole search at the default."""
    transform = retriever.transform(instruction)
    folded = transform.query.fold(queries)
    scores = folded @ vectors.T
    curve = {}
    for prefetch in PREFETCHES:
        best = exact_ids(scores, K)
        started = time.perf_counter()
        found = [stored.search(row, k=prefetch).ids for row in folded]
        seconds = (time.perf_counter() - started) / len(folded)
        curve[prefetch] = [overlap(best, found), round(1e3 * seconds, 2)]
    answers = [
        [hit.id for hit in retriever.search(row, instruction=instruction, k=K)] for row in queries
    ]
    final = rescored_ids(transform, queries, scores, vectors)
    return {
        "chosen": dict(transform.report.chosen),
        "held-out precision": [transform.report.generic, transform.report.adapted],
        "recall@10 of the search": overlap(final, answers),
        "folded by prefetch: recall@10, ms": curve,
    }


def exact_ids(scores: FloatArray, k: int) -> list[list[str]]:
    """Ids of the best k of each row of scores."""
    return [[f"r{i}" for i in row] for row in np.argpartition(-scores, k, axis=1)[:, :k]]


def rescored_ids(
    transform: InstructionTransform, queries: FloatArray, scores: FloatArray, vectors: FloatArray
) -> list[list[str]]:
    """Ids of the ten best by an exact index, whose scores are given and whose best are rescored."""
    candidates = np.argpartition(-scores, DEFAULT_RESCORE, axis=1)[:, :DEFAULT_RESCORE]
    return [
        [f"r{rows[i]}" for i in np.argsort(-transform.score(query[None], vectors[rows]))[:K]]
        for query, rows in zip(queries, candidates, strict=True)
    ]


def overlap(wanted: list[list[str]], found: list[Any]) -> float:
    """Mean share of the wanted ids that were found."""
    shares = [len(set(a) & set(b)) / len(a) for a, b in zip(wanted, found, strict=True)]
    return round(float(np.mean(shares)), 3)


def time_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def spread(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"median": round(median(values), 2), "p95": round(float(np.percentile(values, 95)), 2)}


def seconds_per_text(encoder: InstructEncoder, base: Base) -> float:
    """What encoding one text costs, measured on a slice."""
    rng = np.random.default_rng(0)
    texts = [base.texts[i] for i in rng.integers(0, len(base.texts), ENCODED)]
    encoder.encode(texts[:16])
    return time_ms(lambda: encoder.encode(texts)) / 1e3 / ENCODED


def show(result: dict[str, Any]) -> None:
    """One table a size."""
    table = Table(title=f"{result['n']:,} stored vectors")
    headings = (
        "aspect",
        "plain ms (p95)",
        "adapted ms (p95)",
        "ratio",
        "recall@10",
        "first answer s",
    )
    for heading in (*headings, "folded recall@10 by prefetch"):
        table.add_column(heading)
    for row in result["aspects"]:
        plain, adapted = row["plain ms"], row["adapted ms"]
        curve = row["folded by prefetch: recall@10, ms"]
        table.add_row(
            row["aspect"],
            f"{plain['median']} ({plain['p95']})",
            f"{adapted['median']} ({adapted['p95']})",
            str(row["ratio of medians"]),
            str(row["recall@10 of the search"]),
            str(row["first answer s"]),
            ", ".join(f"{k}: {recall} {ms} ms" for k, (recall, ms) in curve.items()),
        )
    Console(width=180).print(table)
    Console().print(f"first answer without labels: {result['first answer without labels s']} s")
    Console().print(f"exact searches: {result['exact']}")
    Console().print(f"re-encoding all of it: {result['re-encoding seconds']:,} s")


if __name__ == "__main__":
    main()
