"""One retriever under load: 32 asynchronous callers and 16 threads, known and new instructions.

    python -m tests.benchmarks.load [--data FOLDER] [--size 100000] [--quick]

Three phases on one LangChain retriever, in an embedded collection and on a Chroma server: searches
without an instruction, under known instructions, and with new instructions among them, which are
fitted meanwhile. Each answer is compared afterwards with that of a quiet retriever. A coroutine
that only ticks tells how long the event loop was held up.
"""

import argparse
import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.api import ClientAPI
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.progress import track

from instruct_embeddings import FitConfig, GuideByInstruction, InstructEncoder, MetadataGuide
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.benchmarks.corpora import Base, mix, mixed_batches, read_base
from tests.benchmarks.environment import environment, save
from tests.benchmarks.load_report import show
from tests.benchmarks.tasks import CACHE
from tests.chroma_server import HOST, chroma_server

CALLERS, THREADS = 32, 16
K = 10
QUERIES = 8
NEW = 8
TICK = 0.005
# Of the searches of the last phase, so many ask under the newest instruction.
NEW_SHARE = 0.25

_err = Console(stderr=True)


class Stored(Embeddings):
    """Vectors of queries that were made before: what is measured is the search."""

    def __init__(self, vectors: FloatArray) -> None:
        self.vectors = vectors.tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[int(text)] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)


class CountedGuide(MetadataGuide):
    """Counts the fits that it teaches."""

    fits = 0

    def judge(self, instruction: str, sample: Rows) -> Labels:
        self.fits += 1
        return super().judge(instruction, sample)


@dataclass
class Phase:
    """What one phase did.

    Attributes:
        name: For the reader.
        kinds: Milliseconds of each search, by the kind of its instruction.
        seconds: Wall time.
        stall: Longest time in milliseconds for which the event loop did not run.
        answers: Ids found, by query and instruction.
    """

    name: str
    kinds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0
    stall: float = 0.0
    answers: list[tuple[str, str | None, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """A retriever and what it is asked.

    Attributes:
        retriever: Shared by all callers.
        guides: One for each instruction.
        known: Instructions fitted before.
        new: Instructions that are not.
        searches: Of each caller in each phase.
    """

    retriever: InstructionTransformRetriever
    guides: dict[str, CountedGuide]
    known: list[str]
    new: list[str]
    searches: int

    def asked(self, phase: str, caller: int) -> Iterator[tuple[str, str, str | None]]:
        """Kind, query and instruction of each search of a caller."""
        rng = np.random.default_rng(caller)
        for number in range(self.searches):
            query = str(rng.integers(QUERIES))
            if phase == "plain":
                yield "plain", query, None
            elif phase == "mixed" and rng.random() < NEW_SHARE:
                # All callers come to a new instruction at about the same time.
                yield "new", query, self.new[number * len(self.new) // self.searches]
            else:
                yield "known", query, str(rng.choice(self.known))


def main() -> None:
    """Fill, ask, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=60, help="of each caller in each phase")
    parser.add_argument("--places", nargs="*", default=["embedded", "server"])
    parser.add_argument("--quick", action="store_true", help="a smoke run that keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.searches = 2000, 4
    base = read_base(InstructEncoder.from_pretrained(BASE_MODEL), arguments.data, arguments.seed)
    results = {}
    for place in arguments.places:
        with client_of(place, CACHE / f"load-{place}-{len(base.texts)}-{arguments.size}") as client:
            collection = fill(client, base, arguments.size, arguments.seed)
            results[place] = measure(client, collection, base, arguments)
        show(place, arguments.size, results[place])
    if not arguments.quick:
        about = {"environment": environment(arguments.seed), "size": arguments.size}
        Console().print(f"kept in {save('load', {**about, 'results': results})}")


@contextmanager
def client_of(place: str, folder: Path) -> Iterator[ClientAPI]:
    """An embedded client, or one of a server that this starts."""
    folder.mkdir(parents=True, exist_ok=True)
    if place == "embedded":
        yield chromadb.PersistentClient(str(folder))
        return
    with chroma_server(folder) as port:
        yield chromadb.HttpClient(host=HOST, port=port)


def fill(client: ClientAPI, base: Base, size: int, seed: int) -> str:
    """The name of the collection, filled unless it is."""
    collection = client.get_or_create_collection(
        "load", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    start, there = 0, collection.count()
    batches = mixed_batches(base, size, seed)
    for rows, parents in track(batches, f"filling {size:,}", console=_err, total=-(-size // 5000)):
        if start + len(rows) > there:
            collection.upsert(
                ids=[f"r{i}" for i in range(start, start + len(rows))],
                embeddings=rows,
                metadatas=[base.labels[i] for i in parents],
                documents=[base.texts[i][:200] for i in parents],
            )
        start += len(rows)
    return collection.name


def measure(
    client: ClientAPI, collection: str, base: Base, arguments: argparse.Namespace
) -> dict[str, Any]:
    """The three phases, and whether their answers are right."""
    aspects = list(base.instructions.items())
    # A caller comes to each of them with at least one search.
    count = min(NEW, arguments.searches)
    chosen = [aspects[number % len(aspects)] for number in range(count)]
    new = [f"{question} ({number})" for number, (_, question) in enumerate(chosen)]
    guides = {question: CountedGuide(aspect) for aspect, question in aspects}
    guides |= {text: CountedGuide(aspect) for text, (aspect, _) in zip(new, chosen, strict=True)}
    queries, _ = mix(base, QUERIES, np.random.default_rng(arguments.seed + 1))
    retriever = InstructionTransformRetriever(
        vectorstore=Chroma(collection, Stored(queries), client=client),
        guide=GuideByInstruction(guides),
        fit=FitConfig(),
        insist=True,
        k=K,
    )
    known = list(base.instructions.values())
    retriever.engine.prepare(known)
    load = Load(retriever, guides, known, new, arguments.searches)
    phases = [asyncio.run(run(load, name)) for name in ("plain", "known", "mixed")]
    return {
        "callers": CALLERS,
        "threads": THREADS,
        "phases": [summary(phase) for phase in phases],
        "new instructions": count,
        "fits of each": sorted({guides[text].fits for text in new}),
        "wrong answers": sum(wrong_answers(load, phase) for phase in phases),
    }


async def run(load: Load, name: str) -> Phase:
    """All callers and threads at once."""
    phase, loop = Phase(name), asyncio.get_running_loop()
    ticking = asyncio.create_task(tick(phase))
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [
            loop.run_in_executor(pool, call_in_thread, load, phase, CALLERS + number)
            for number in range(THREADS)
        ]
        await asyncio.gather(*(call(load, phase, number) for number in range(CALLERS)), *threads)
    phase.seconds = time.perf_counter() - started
    ticking.cancel()
    return phase


async def tick(phase: Phase) -> None:
    """Note how much later than asked for it wakes up."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        phase.stall = max(phase.stall, 1e3 * (time.perf_counter() - before - TICK))


async def call(load: Load, phase: Phase, number: int) -> None:
    """One asynchronous caller."""
    for kind, query, instruction in load.asked(phase.name, number):
        started = time.perf_counter()
        found = await load.retriever.ainvoke(query, instruction=instruction)
        phase.kinds[kind].append(1e3 * (time.perf_counter() - started))
        phase.answers.append((query, instruction, [str(one.id) for one in found]))


def call_in_thread(load: Load, phase: Phase, number: int) -> None:
    """One thread."""
    for kind, query, instruction in load.asked(phase.name, number):
        started = time.perf_counter()
        found = load.retriever.invoke(query, instruction=instruction)
        phase.kinds[kind].append(1e3 * (time.perf_counter() - started))
        phase.answers.append((query, instruction, [str(one.id) for one in found]))


def wrong_answers(load: Load, phase: Phase) -> int:
    """Answers that a quiet retriever does not give."""
    right: dict[tuple[str, str | None], list[str]] = {}
    for query, instruction, _ in phase.answers:
        if (query, instruction) not in right:
            found = load.retriever.invoke(query, instruction=instruction)
            right[query, instruction] = [str(one.id) for one in found]
    return sum(found != right[query, asked] for query, asked, found in phase.answers)


def summary(phase: Phase) -> dict[str, Any]:
    """Plain data."""
    count = Counter({kind: len(times) for kind, times in phase.kinds.items()})
    return {
        "phase": phase.name,
        "searches": count.total(),
        "searches a second": round(count.total() / phase.seconds, 1),
        "longest stall of the event loop ms": round(phase.stall, 1),
        "kinds": {
            kind: {
                "searches": len(times),
                "p50 ms": round(float(np.percentile(times, 50)), 1),
                "p99 ms": round(float(np.percentile(times, 99)), 1),
            }
            for kind, times in phase.kinds.items()
        },
    }


if __name__ == "__main__":
    main()
