"""One method at one size, in a process of its own: seconds, milliseconds, memory."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import chromadb
import numpy as np
import torch

from benchmarks.encode_rounds import _resident_mb
from benchmarks.peers import LABEL_FREE, PREFIX, REENCODED, RESCORED
from benchmarks.peers_methods import MOVING, PEERS, Learned
from benchmarks.query import spread, time_ms
from benchmarks.transform import GENERIC
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import (
    EncoderGuide,
    FitConfig,
    InstructEncoder,
    InstructRetriever,
    MetadataGuide,
    TransformWarning,
)
from instruct_embeddings._types import FloatArray

K = 10
_CHUNK = 10_000


@dataclass(frozen=True)
class Job:
    """What a process measures.

    Attributes:
        method: Name of the method.
        collection: Folder of the collection, for what an index serves.
        vectors: File of the stored vectors, for what reads all of them.
        aspect: Key of the labels in the metadata.
        instruction: Asks for them.
        sample: Labelled vectors that peers learn from, shape (m, d).
        labels: Their labels.
        queries: Vectors of queries, shape (q, d).
        seed: Of the fits.
    """

    method: str
    collection: Path
    vectors: Path
    aspect: str
    instruction: str
    sample: FloatArray
    labels: list[str]
    queries: FloatArray
    seed: int


def measure(pipe: Any, job: Job) -> None:
    """Send the figures of a job."""
    torch.tensor([1.0]).sum().item()  # its threads and pools count as loaded
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5", encoding="utf-8")  # the peak starts anew
    before = _resident_mb("VmRSS")
    seconds, milliseconds = _MEASURES.get(job.method, _by_peer)(job)
    pipe.send(
        {
            "method": job.method,
            "labels": len(job.labels),
            "seconds": round(seconds, 2),
            "ms": spread(milliseconds),
            "MB": round(_resident_mb("VmHWM") - before),
        }
    )


def _by_peer(job: Job) -> tuple[float, list[float]]:
    started = time.perf_counter()
    learned = PEERS[job.method](job.sample, job.labels, job.seed)
    fitted = time.perf_counter() - started
    if learned.store is None:
        return fitted, _ask_index(job, lambda query: learned.ask(query[None])[0])
    vectors = np.load(job.vectors)
    started = time.perf_counter()
    stored = _transform(learned, vectors)
    changed = time.perf_counter() - started

    def search(query: FloatArray) -> Any:
        scores = stored @ learned.ask(query[None])[0]
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]

    return fitted + changed, _timed(search, job.queries)


def _transform(learned: Learned, vectors: FloatArray) -> FloatArray:
    """Stored vectors under the instruction, a part at a time, shape (n, d) to (n, p)."""
    store = learned.store
    if store is None:
        raise ValueError("The method leaves the stored vectors as they are.")
    parts = [store(vectors[i : i + _CHUNK]) for i in range(0, len(vectors), _CHUNK)]
    return np.concatenate(parts)


def _generic(job: Job) -> tuple[float, list[float]]:
    return 0.0, _ask_index(job, lambda query: query)


def _from_labels(job: Job) -> tuple[float, list[float]]:
    return _ours(job, MetadataGuide(job.aspect))


def _from_encoder(job: Job) -> tuple[float, list[float]]:
    encoder = InstructEncoder.from_pretrained()
    encoder.encode(["loaded before the clock starts"], instruction=job.instruction)
    return _ours(job, EncoderGuide(encoder))


def _ours(job: Job, guide: Any) -> tuple[float, list[float]]:
    collection = open_collection(job.collection)
    # Loading the index is nobody's cost here: plain queries pay it too.
    collection.query(query_embeddings=[job.queries[0]], n_results=K)
    retriever = InstructRetriever(
        ChromaVectors(collection), guide, fit=FitConfig(seed=job.seed), force=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)
        started = time.perf_counter()
        retriever.transform(job.instruction)
        seconds = time.perf_counter() - started
    return seconds, _timed(
        lambda query: retriever.search(query, instruction=job.instruction, k=K), job.queries
    )


def _ask_index(job: Job, ask: Callable[[FloatArray], FloatArray]) -> list[float]:
    collection = open_collection(job.collection)
    return _timed(
        lambda query: collection.query(query_embeddings=[ask(query)], n_results=K), job.queries
    )


def _timed(search: Callable[[FloatArray], object], queries: FloatArray) -> list[float]:
    """Milliseconds of each query; the first, which loads the index, is not counted."""
    search(queries[0])
    return [time_ms(lambda row=query: search(row)) for query in queries]


def open_collection(folder: Path) -> chromadb.Collection:
    """The collection in a folder; made where there is none."""
    return chromadb.PersistentClient(str(folder)).get_or_create_collection(
        "bench", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


_MEASURES: dict[str, Callable[[Job], tuple[float, list[float]]]] = {
    GENERIC: _generic,
    RESCORED: _from_labels,
    LABEL_FREE: _from_encoder,
}
BY_INDEX = (*_MEASURES, *MOVING)
BY_TEXTS = (PREFIX, REENCODED)


def rates(pipe: Any, texts: list[str], instruction: str, base: str, rounds: int) -> None:
    """Send the texts that can be encoded anew in a second: median over rounds, in turns."""
    generic, ours = InstructEncoder.from_pretrained(base), InstructEncoder.from_pretrained()
    passes: dict[str, Callable[[], object]] = {
        PREFIX: lambda: generic.encode([f"{instruction} {text}" for text in texts]),
        REENCODED: lambda: ours.encode(texts, instruction=instruction),
    }
    times: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(rounds + 1):
        for name, encode in passes.items():
            milliseconds = time_ms(encode)
            if turn:  # the first loads and warms up
                times[name].append(milliseconds)
    pipe.send({name: round(1e3 * len(texts) / median(own), 1) for name, own in times.items()})


def samples(pipe: Any, job: Job, sizes: tuple[int, ...]) -> None:
    """Send the seconds of our adaptation without labels by the size of its sample."""
    encoder = InstructEncoder.from_pretrained()
    encoder.encode(["loaded before the clock starts"], instruction=job.instruction)
    stored = ChromaVectors(open_collection(job.collection))
    rows = []
    for size in sizes:
        config = FitConfig(sample_size=size, seed=job.seed)
        retriever = InstructRetriever(stored, EncoderGuide(encoder), fit=config, force=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TransformWarning)
            started = time.perf_counter()
            transform = retriever.transform(job.instruction)
            seconds = time.perf_counter() - started
        rows.append(
            {"at most": size, "read": transform.report.judged, "seconds": round(seconds, 2)}
        )
    pipe.send(rows)
