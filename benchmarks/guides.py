"""Transforms without labels: who teaches them, what it costs, and what labels would give.

    python -m benchmarks.guides --data FOLDER [--tasks NAME ...] [--quick] [--guides]

The tasks, pools and queries are those of `benchmarks.transform`. The default guide is run
whole and timed: it encodes a sample that grows while it pays, and the transform is fitted. The
variants (`benchmarks.guides_variants`) read embeddings that are kept on disk. With `--guides`
only the guides run, to be timed on a quiet machine; rows of the variants stay as they were kept.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.encoder_quality import Sizes, by_cosine, cut, exactly, searched
from benchmarks.environment import environment, save
from benchmarks.environment import load as load_results
from benchmarks.guides_report import print_report
from benchmarks.guides_variants import variants
from benchmarks.tasks import TASKS, Split, Task, embed, embed_under, load
from benchmarks.transform import GENERIC, Ranked, folded, judge
from instruct_embeddings import FitConfig, InstructEncoder, TransformWarning
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.guides import EncoderGuide, LabelNamesGuide
from instruct_embeddings.protocols import Guide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows

OURS = "everything re-encoded"
ENCODER = "encoder guide"
NAMES = "label names"
QUICK = Sizes(400, 400)


@dataclass(frozen=True)
class Run:
    """One guide at work on one task.

    Attributes:
        transform: What it taught.
        seconds: Of sampling, judging and fitting.
        warned: Whether the generic ranking is kept, since the gain may be chance.
    """

    transform: InstructionTransform
    seconds: float
    warned: bool


def main() -> None:
    """Measure, print the tables, keep the results."""
    arguments = parse()
    sizes = QUICK if arguments.quick else Sizes()
    chosen = [task for task in TASKS if not arguments.tasks or task.name in arguments.tasks]
    encoder = InstructEncoder.from_pretrained(arguments.model)
    rows: list[dict[str, Any]] = []
    for task in track(chosen, description="tasks", console=Console(stderr=True)):
        split = cut(load(task, arguments.data, arguments.seed), sizes)
        rows += measure(task, split, encoder, arguments.seed)
        if not arguments.guides:
            rows += compare(task, split, encoder, arguments.seed)
    if arguments.guides:
        tasks, again = {row["task"] for row in rows}, {row["method"] for row in rows}
        kept = load_results("guides").get("rows", [])
        rows += [row for row in kept if row["task"] in tasks and row["method"] not in again]
    results = {
        "environment": environment(arguments.seed),
        "model": encoder.name,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    print_report(results)
    if len(chosen) == len(TASKS) and not arguments.quick:
        save("guides", results)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--tasks", nargs="*", help="names such as trec/coarse; all by default")
    parser.add_argument("--quick", action="store_true", help="pools of 400 rows; keeps nothing")
    parser.add_argument("--guides", action="store_true", help="run and time the guides only")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def measure(
    task: Task, split: Split, encoder: InstructEncoder, seed: int
) -> Iterator[dict[str, Any]]:
    """Figures of the guides on one task, beside the generic vectors and re-encoding."""
    stored, pool = _vectors(split)
    again = unit_rows(embed_under(encoder, split.pool_texts, task.instruction))
    row = partial(_row, task, split, seed)
    yield row(GENERIC, by_cosine(pool))
    yield row(OURS, by_cosine(again))
    names = [label.replace("_", " ").replace("-", " ") for label in sorted(set(split.labels))]
    for method, guide in ((ENCODER, EncoderGuide(encoder)), (NAMES, LabelNamesGuide(names))):
        run = teach(guide, stored, split.texts, task, seed)
        used = by_cosine(pool) if run.warned else _search(run.transform, pool)
        rate = _texts_a_second(encoder, split.texts, task.instruction)
        yield row(
            method,
            used,
            adapted=not run.warned,
            sample=run.transform.report.rows,
            seconds=round(run.seconds, 2),
            texts_a_second=round(rate, 1),
        )


def compare(
    task: Task, split: Split, encoder: InstructEncoder, seed: int
) -> Iterator[dict[str, Any]]:
    """Figures of the variants on one task."""
    stored, pool = _vectors(split)
    targets = embed_under(encoder, split.texts, task.instruction)
    for method, transform in variants(task, split, stored, targets, seed):
        found = by_cosine(pool) if transform is None else _search(transform, pool)
        yield _row(task, split, seed, method, found, adapted=transform is not None)


def _vectors(split: Split) -> tuple[FloatArray, FloatArray]:
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    return embed(generic, split.texts), embed(generic, split.pool_texts)


def _row(
    task: Task, split: Split, seed: int, method: str, ranked: Ranked, **more: Any
) -> dict[str, Any]:
    precision, v_measure = judge(*ranked, split, seed)
    figures = {"precision@10": round(precision, 4), "v_measure": round(v_measure, 4)}
    return {"task": task.name, "method": method, **figures, **more}


def teach(guide: Guide, stored: FloatArray, texts: list[str], task: Task, seed: int) -> Run:
    """Run a guide as a retriever does."""
    collection = InMemoryCollection(stored, texts=texts, name=task.file, id=task.name)
    retriever = InstructRetriever(collection, guide, fit=FitConfig(seed=seed))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        transform = retriever.transform(task.instruction)
        seconds = time.perf_counter() - started
    return Run(transform, seconds, any(w.category is TransformWarning for w in caught))


def _search(transform: InstructionTransform, pool: FloatArray) -> Ranked:
    return searched(folded(transform, pool)[0], *exactly(transform, pool))


def _texts_a_second(encoder: InstructEncoder, texts: list[str], instruction: str) -> float:
    """How fast everything would be re-encoded."""
    chosen = texts[:: max(1, len(texts) // 128)][:128]
    started = time.perf_counter()
    encoder.encode(chosen, instruction=instruction)
    return len(chosen) / (time.perf_counter() - started)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
