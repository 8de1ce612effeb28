"""What examples in an instruction gain: 0, 1, 2, 4, 8 and 16 of them, nothing fitted.

    python -m benchmarks.examples --data FOLDER [--seeds 3]

Half of the groups of each retrieval set are asked, examples are drawn from the other half: for each
instruction (or aspect, where a set says it in several wordings) with at least 16 of them. Each is a
query and one of the texts that answer it; and, where they have one, the text that the instant query
ranks best of those that do not. Label tasks likewise: a text and another of its label are an
example, drawn from texts that are not in the pool. All rows are ranked. nDCG@10 is a mean over the
queries of a set, precision@10 over those of a task; then a mean over seeds.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.environment import environment, load, save
from benchmarks.pages import Ran, Tabulate
from benchmarks.retrieval_metrics import ndcg
from benchmarks.retrieval_sets import RetrievalSet, load_sets
from benchmarks.tasks import TASKS, Task, embed
from benchmarks.tasks import load as load_task
from instruct_embeddings import InstantQuery, InstructEncoder
from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.retrieval.examples import ExampleMove
from instruct_embeddings.retrieval.instant import InstantAnswers
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.quality import precision_at_k
from instruct_embeddings.transform.vectors import unit_rows

COUNTS = (0, 1, 2, 4, 8, 16)
_LEAST_ASKED, _MOST_ASKED = 8, 330
_SAMPLE, _LABELLED, _POOL, _QUERIES = 200, 200, 600, 200
KINDS = {"good": 0.0, "good and bad": 1.0}


@dataclass(frozen=True)
class Examples:
    """What may be drawn: generic and folded queries, good and bad texts, each of shape (n, d)."""

    queries: FloatArray
    folded: FloatArray
    good: FloatArray
    bad: FloatArray
    comparing: bool

    def move(self, count: int, bad: bool, sample: FloatArray) -> ExampleMove:
        """What the first of them teach, with their bad texts or without."""
        first = slice(count)
        has_bad = np.full(count, bad)
        return ExampleMove.of(
            *(self.queries[first], self.folded[first], self.good[first], self.bad[first]),
            *(has_bad, sample),
            comparing=self.comparing,
        )


def main() -> None:
    """Measure, print the curves, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--seeds", type=int, default=3, help="draws of examples")
    arguments = parser.parse_args()
    generic, instant = InstructEncoder.from_pretrained(BASE_MODEL), InstantQuery.from_pretrained()
    seeds = range(arguments.seeds)
    sets = [own for own in load_sets(arguments.data) if own.kind != "plain"]
    console = Console(stderr=True)
    results: dict[str, Any] = {
        "environment": environment(0),
        "command": f"python -m benchmarks.examples --data FOLDER --seeds {arguments.seeds}",
        "models": {"generic": generic.name, "instant": instant.name},
        "counts": COUNTS,
        "retrieval": [
            row
            for own in track(sets, "sets", console=console)
            for row in measure_set(own, generic, instant, seeds)
        ],
        "labels": [
            row
            for task in track(TASKS, "label tasks", console=console)
            for row in measure_task(task, arguments.data, generic, instant, seeds)
        ],
    }
    for part in ("retrieval", "labels"):
        for kind in KINDS:
            rows = [row for row in results[part] if row["examples"] == kind]
            for row in rows:
                print(f"{row['name']:28}{kind:14}" + _line(row["by count"]))
            mean = np.mean([row["by count"] for row in rows], axis=0).round(4).tolist()
            results[f"{part} mean, {kind}"] = mean
            print(f"{part + ', mean':28}{kind:14}" + _line(mean))
    print(f"kept in {save('examples', results)}")


def measure_set(
    own: RetrievalSet, generic: InstructEncoder, instant: InstantQuery, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """nDCG@10 of one set by the number of examples, without and with bad texts."""
    documents = embed(generic, list(own.documents))
    vectors = embed(generic, [query.text for query in own.queries])
    answers = _answers(own.name, own.documents, documents)(instant)
    folded = np.concatenate(
        [
            answers.ranker(query.text, row, query.instruction).fold(row)
            for query, row in zip(own.queries, vectors[:, None], strict=True)
        ]
    )
    relevant = np.zeros((len(vectors), len(documents)), dtype=np.bool_)
    itself = np.zeros_like(relevant)
    for place, query in enumerate(own.queries):
        relevant[place, query.relevant] = True
        itself[place, query.itself] = True
    sample = documents[np.random.default_rng(0).permutation(len(documents))[:_SAMPLE]]
    found: dict[str, list[FloatArray]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for asked, shown in _split(own, rng):
            good = [int(rng.choice(own.queries[place].relevant)) for place in shown]
            scores = folded[shown] @ documents.T
            scores[relevant[shown] | itself[shown]] = -np.inf
            like = [
                answers.compares(own.queries[place].text, own.queries[place].instruction)
                for place in shown
            ]
            examples = Examples(
                vectors[shown],
                folded[shown],
                documents[good],
                documents[scores.argmax(axis=1)],
                2 * sum(like) > len(like),
            )

            def quality(rows: FloatArray, asked: IntArray = asked) -> FloatArray:
                ranked = rows @ documents.T
                ranked[itself[asked]] = -np.inf
                return ndcg(ranked, relevant[asked])

            for kind, bad in KINDS.items():
                found[kind].append(
                    _curve(examples, bool(bad), vectors[asked], folded[asked], sample, quality)
                )
    return [
        {
            "name": own.name,
            "examples": kind,
            "documents": len(documents),
            "asked": sum(curve.shape[1] for curve in curves) // len(seeds),
            "by count": np.concatenate(curves, axis=1).mean(axis=1).round(4).tolist(),
        }
        for kind, curves in found.items()
    ]


def measure_task(
    task: Task, data: Path, generic: InstructEncoder, instant: InstantQuery, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Precision@10 of one label task by the number of examples, without and with bad texts."""
    split = load_task(task, data, seed=0)
    texts, labels = split.texts[:_LABELLED], np.array(split.labels[:_LABELLED])
    pool, pool_labels = split.pool_texts[:_POOL], split.pool_labels[:_POOL]
    vectors, documents = embed(generic, texts), embed(generic, pool)
    answers = _answers(task.name, pool, documents)(instant)

    def fold(some: Sequence[str], rows: FloatArray) -> FloatArray:
        pairs = zip(some, rows[:, None], strict=True)
        return np.concatenate(
            [answers.ranker(text, row, task.instruction).fold(row) for text, row in pairs]
        )

    folded, asked = fold(texts, vectors), fold(pool[:_QUERIES], documents[:_QUERIES])
    relevant = pool_labels[: len(asked), None] == pool_labels[None]
    own = np.arange(len(asked))
    relevant[own, own] = False
    sample = documents[np.random.default_rng(0).permutation(len(documents))[:_SAMPLE]]

    def quality(rows: FloatArray) -> FloatArray:
        ranked = rows @ documents.T
        ranked[own, own] = -np.inf
        return precision_at_k(ranked, relevant, 10)

    found: dict[str, list[FloatArray]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(texts))
        drawn = np.array([place for place in order if _others(labels, place).any()][: COUNTS[-1]])
        good = [int(rng.choice(np.flatnonzero(_others(labels, place)))) for place in drawn]
        scores = folded[drawn] @ vectors.T
        scores[labels[drawn, None] == labels[None]] = -np.inf
        like = [answers.compares(texts[place], task.instruction) for place in drawn]
        examples = Examples(
            vectors[drawn],
            folded[drawn],
            vectors[good],
            vectors[scores.argmax(axis=1)],
            2 * sum(like) > len(like),
        )
        for kind, bad in KINDS.items():
            rows = (documents[: len(asked)], asked)
            found[kind].append(_curve(examples, bool(bad), *rows, sample, quality))
    return [
        {
            "name": task.name,
            "examples": kind,
            "asked": len(asked),
            "by count": np.concatenate(curves, axis=1).mean(axis=1).round(4).tolist(),
        }
        for kind, curves in found.items()
    ]


def _others(labels: Any, place: int) -> BoolArray:
    """Other texts with the same label."""
    same: BoolArray = labels == labels[place]
    same[place] = False
    return same


def _answers(
    name: str, texts: Sequence[str], vectors: FloatArray
) -> Callable[[InstantQuery], InstantAnswers]:
    collection = InMemoryCollection(vectors, texts=list(texts), name=name.replace("/", "-"))
    return lambda instant: InstantAnswers(collection, instant)


def _split(own: RetrievalSet, rng: np.random.Generator) -> Iterator[tuple[IntArray, IntArray]]:
    """Queries that are asked, and those that examples are made of, of each respect."""
    groups = np.array([query.group for query in own.queries])
    names = np.array([query.aspect or query.instruction for query in own.queries])
    different = rng.permutation(np.unique(groups))
    is_asked = np.isin(groups, different[: len(different) // 2])
    respects = np.unique(names)
    for name in respects:
        asked = rng.permutation(np.flatnonzero(is_asked & (names == name)))
        shown = rng.permutation(np.flatnonzero(~is_asked & (names == name)))
        if len(asked) >= _LEAST_ASKED and len(shown) >= COUNTS[-1]:
            yield asked[: max(_LEAST_ASKED, _MOST_ASKED // len(respects))], shown[: COUNTS[-1]]


def _curve(
    examples: Examples,
    bad: bool,
    vectors: FloatArray,
    folded: FloatArray,
    sample: FloatArray,
    quality: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """Quality of each query by the number of examples, shape (counts, q)."""
    curve = [quality(folded)]
    for count in COUNTS[1:]:
        move = examples.move(count, bad, sample)
        moved = np.stack([move(row) for row in vectors])
        curve.append(quality(unit_rows(folded + moved)))
    return np.stack(curve)


def section(tabulate: Tabulate, ran: Ran) -> str:
    """The part of docs/instant.md; nothing where it was not measured."""
    results = load("examples")
    if not results:
        return ""
    lines = [
        [f"{name}, {kind}", *_cells(curve)]
        for kind in KINDS
        for name, curve in [
            *((r["name"], r["by count"]) for r in results["retrieval"] if r["examples"] == kind),
            ("**mean of these sets**", results[f"retrieval mean, {kind}"]),
            ("mean of 17 label tasks (precision@10)", results[f"labels mean, {kind}"]),
        ]
    ]
    heads = ("nDCG@10", *(f"{count} examples" for count in results["counts"]))
    return (
        f"{tabulate(heads, lines)}\n\nBy `make bench-examples DATA=folder`, "
        f"`{results['command']}`: gains over the instant query alone, means over draws. Examples "
        "come from questions that are not asked; “good and bad” adds to each the text that the "
        "instant query ranks best of those that do not answer it. The penalties were chosen on "
        "other draws of the same retrieval sets: expect less of yours. "
        f"{ran(results['environment'])}\n"
    )


def _cells(curve: Sequence[float]) -> list[str]:
    return [f"{curve[0]:.3f}", *(f"{each - curve[0]:+.3f}" for each in curve[1:])]


def _line(curve: Sequence[float]) -> str:
    return f"{curve[0]:.4f}  " + " ".join(f"{each - curve[0]:+.4f}" for each in curve[1:])


if __name__ == "__main__":
    main()
