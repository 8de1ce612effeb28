"""One retriever under load: 32 asynchronous callers and 16 threads, known and new instructions.

    python -m benchmarks.load [--data FOLDER] [--size 100000] [--quick]

Four phases on one LangChain retriever, in an embedded collection and on a Chroma server: searches
without an instruction, under known instructions, with new instructions among them, which are
fitted meanwhile, and with searches among them that a slow judge refines. Each answer is compared
afterwards with that of a quiet retriever, but for those of a judge, whose influence changes with
what it says. A coroutine that only ticks tells how long the event loop was held up. As a service
should, this one tells the garbage collector to leave alone what is there when it begins to serve
(`gc.freeze()`): a full collection looks at every object of every library, and stops all threads for
it; see --thaw.
"""

import argparse
import asyncio
import gc
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import chromadb
import numpy as np
from chromadb.api import ClientAPI
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.progress import track

from benchmarks.corpora import Base, mix, read_base, row_batches
from benchmarks.environment import environment, save
from benchmarks.load_report import JUDGE_SECONDS, JUDGED_SHARE, show
from benchmarks.load_stalls import Stalls, watched
from benchmarks.tasks import CACHE
from instruct_embeddings import (
    FitConfig,
    GuideByInstruction,
    InstructEncoder,
    MetadataGuide,
    RelevanceFeedback,
)
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.transform import InstructionTransform, TransformStore
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.chroma_server import HOST, chroma_server

CALLERS, THREADS = 32, 16
K = 10
QUERIES = 8
NEW = 8
# Of the searches of the phase with new instructions, so many ask under the newest one.
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


class CountedStore(TransformStore):
    """Counts what is fitted: each fit ends with a transform that is stored."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fits: Counter[str] = Counter()

    def put(self, transform: InstructionTransform) -> Path:
        self.fits[transform.instruction] += 1
        return super().put(transform)


def slow_judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    """Takes its time, as a reranker on another machine does, and prefers short texts."""
    del query, instruction
    time.sleep(JUDGE_SECONDS)
    longest = max(map(len, texts))
    return [1 - len(text) / (longest + 1) for text in texts]


@dataclass
class Phase:
    """What one phase did.

    Attributes:
        name: For the reader.
        kinds: Milliseconds of each search, by the kind of its instruction.
        seconds: Wall time.
        stalls: The longest ones of the event loop.
        answers: Ids found, by query and instruction.
    """

    name: str
    kinds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0
    stalls: Stalls = field(default_factory=Stalls)
    answers: list[tuple[str, str | None, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """A retriever and what it is asked.

    Attributes:
        retriever: Shared by all callers.
        known: Instructions fitted before.
        new: Instructions that are not.
        searches: Of each caller in each phase.
    """

    retriever: InstructionTransformRetriever
    known: list[str]
    new: list[str]
    searches: int

    def asked(self, phase: str, caller: int) -> Iterator[tuple[str, str, str | None]]:
        """Kind, query and instruction of each search of a caller; `judged` asks the judge."""
        rng = np.random.default_rng(caller)
        for number in range(self.searches):
            query = str(rng.integers(QUERIES))
            if phase == "plain":
                yield "plain", query, None
            elif phase == "mixed" and rng.random() < NEW_SHARE:
                # All callers come to a new instruction at about the same time.
                yield "new", query, self.new[number * len(self.new) // self.searches]
            else:
                judged = phase == "judged" and rng.random() < JUDGED_SHARE
                yield "judged" if judged else "known", query, str(rng.choice(self.known))


def main() -> None:
    """Fill, ask, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=60, help="of each caller in each phase")
    parser.add_argument("--places", nargs="*", default=["embedded", "server"])
    parser.add_argument("--thaw", action="store_true", help="keep nothing, and no gc.freeze()")
    parser.add_argument("--quick", action="store_true", help="a smoke run that keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.searches = 2000, 4
    base = read_base(InstructEncoder.from_pretrained(BASE_MODEL), arguments.data, arguments.seed)
    results = {}
    for place in arguments.places:
        folder = CACHE / f"load-{place}-{len(base.texts)}-{arguments.size}"
        with client_of(place, folder) as client, TemporaryDirectory() as transforms:
            collection = fill(client, base, arguments.size, arguments.seed)
            store = CountedStore(Path(transforms))
            results[place] = measure(client, collection, base, store, arguments)
        show(place, arguments.size, results[place])
    if not (arguments.quick or arguments.thaw):
        about = {"environment": environment(arguments.seed), "size": arguments.size, "frozen": True}
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
    batches = row_batches(base, size, seed)
    for ids, rows, texts, labels in track(
        batches, f"filling {size:,}", console=_err, total=-(-size // 5000)
    ):
        start += len(rows)
        if start > there:
            collection.upsert(ids, embeddings=rows, metadatas=labels, documents=texts)
    return collection.name


def measure(
    client: ClientAPI,
    collection: str,
    base: Base,
    store: CountedStore,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The four phases, and whether their answers are right."""
    aspects = list(base.instructions.items())
    # A caller comes to each of them with at least one search.
    count = min(NEW, arguments.searches)
    chosen = [aspects[number % len(aspects)] for number in range(count)]
    new = [f"{question} ({number})" for number, (_, question) in enumerate(chosen)]
    guides = {question: MetadataGuide(aspect) for aspect, question in aspects}
    guides |= {text: MetadataGuide(aspect) for text, (aspect, _) in zip(new, chosen, strict=True)}
    queries, _ = mix(base, QUERIES, np.random.default_rng(arguments.seed + 1))
    retriever = InstructionTransformRetriever(
        vectorstore=Chroma(collection, Stored(queries), client=client),
        guide=GuideByInstruction(guides),
        store=store,
        instant=None,  # new instructions wait for their fit
        fit=FitConfig(),
        force=True,
        feedback=RelevanceFeedback(slow_judge, timeout=60.0),
        k=K,
    )
    known = list(base.instructions.values())
    retriever.engine.prepare(known)
    load = Load(retriever, known, new, arguments.searches)
    gc.collect()
    if not arguments.thaw:
        gc.freeze()
    phases = [asyncio.run(run(load, name)) for name in ("plain", "known", "mixed", "judged")]
    return {
        "callers": CALLERS,
        "threads": THREADS,
        "phases": [summary(phase) for phase in phases],
        "new instructions": count,
        "fits of each": sorted({store.fits[text] for text in new}),
        "wrong answers": sum(wrong_answers(load, phase) for phase in phases),
    }


async def run(load: Load, name: str) -> Phase:
    """All callers and threads at once."""
    phase, loop = Phase(name), asyncio.get_running_loop()
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        async with watched() as phase.stalls:
            threads = [
                loop.run_in_executor(pool, call_in_thread, load, phase, CALLERS + number)
                for number in range(THREADS)
            ]
            callers = [call(load, phase, number) for number in range(CALLERS)]
            await asyncio.gather(*callers, *threads)
    phase.seconds = time.perf_counter() - started
    return phase


async def call(load: Load, phase: Phase, number: int) -> None:
    """One asynchronous caller."""
    for kind, query, instruction in load.asked(phase.name, number):
        started = time.perf_counter()
        found = await load.retriever.ainvoke(query, instruction=instruction, judge=kind == "judged")
        phase.kinds[kind].append(1e3 * (time.perf_counter() - started))
        if kind != "judged":
            phase.answers.append((query, instruction, [str(one.id) for one in found]))


def call_in_thread(load: Load, phase: Phase, number: int) -> None:
    """One thread."""
    for kind, query, instruction in load.asked(phase.name, number):
        started = time.perf_counter()
        found = load.retriever.invoke(query, instruction=instruction, judge=kind == "judged")
        phase.kinds[kind].append(1e3 * (time.perf_counter() - started))
        if kind != "judged":
            phase.answers.append((query, instruction, [str(one.id) for one in found]))


def wrong_answers(load: Load, phase: Phase) -> int:
    """Answers that a quiet retriever does not give."""
    right: dict[tuple[str, str | None], list[str]] = {}
    for query, instruction, _ in phase.answers:
        if (query, instruction) not in right:
            found = load.retriever.invoke(query, instruction=instruction, judge=False)
            right[query, instruction] = [str(one.id) for one in found]
    return sum(found != right[query, asked] for query, asked, found in phase.answers)


def summary(phase: Phase) -> dict[str, Any]:
    """Plain data."""
    count = Counter({kind: len(times) for kind, times in phase.kinds.items()})
    return {
        "phase": phase.name,
        "searches": count.total(),
        "searches a second": round(count.total() / phase.seconds, 1),
        "longest stall of the event loop ms": round(phase.stalls.loop, 1),
        "longest collection of garbage ms": round(phase.stalls.garbage, 1),
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
