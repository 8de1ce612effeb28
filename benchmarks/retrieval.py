"""Questions under instructions: retrieval sets, and constraints that a search should keep.

    python -m benchmarks.retrieval --data FOLDER [--sets NAME ...] [--quick]

All contestants (`retrieval_contestants`) rank the same generic vectors of the documents. Sets under
instructions ask one query in several respects, each with other answers; plain sets are asked under
instructions that should change nothing. nDCG@10 and recall@100 are means over queries. Right order:
of a document that answers the query under this instruction and one that answers it under another,
how often the first stands first, mean over groups; one half for whoever ignores the instruction.
Gains over the generic vectors have 95 % intervals of a paired bootstrap that draws whole groups.
Constraints are those of `constraints_suite`; label tasks those of `tasks`, asked without any fit.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.constraints_suite import load_cases
from benchmarks.environment import environment, save
from benchmarks.retrieval_constraints import measure_constraints
from benchmarks.retrieval_contestants import (
    GENERIC,
    Asked,
    Contestant,
    Models,
    Stored,
    contestants,
)
from benchmarks.retrieval_labels import measure_labels
from benchmarks.retrieval_metrics import (
    couples_in_order,
    gain,
    ndcg,
    order_by_group,
    recall,
)
from benchmarks.retrieval_report import print_report
from benchmarks.retrieval_sets import RetrievalSet, cut, load_sets
from benchmarks.tasks import TASKS, embed
from instruct_embeddings._types import BoolArray, FloatArray, IntArray

CONSTRAINTS, LABELS = "constraints", "labels"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        queries: Of each set.
        documents: Of each set.
        cases: Of each collection of constraints.
        rows: Of each collection of constraints.
        fitted: Instructions of a set, the commonest, under which a transform is fitted.
        sample: Texts that a transform is fitted on.
        tasks: Label tasks.
    """

    queries: int = 330
    documents: int = 100_000
    cases: int = 100_000
    rows: int = 1000
    fitted: int = 2
    sample: int = 500
    tasks: int = len(TASKS)


QUICK = Sizes(24, 100, 12, 120, 1, 100, 2)


@dataclass
class Figures:
    """What one contestant reaches, query by query; `known` is where it competes."""

    known: BoolArray
    ndcg: FloatArray
    recall: FloatArray
    couples: list[tuple[float, int]]

    @classmethod
    def empty(cls, count: int) -> "Figures":
        """Nothing known yet of so many queries."""
        return cls(
            np.zeros(count, dtype=np.bool_),
            np.zeros(count, dtype=np.float32),
            np.zeros(count, dtype=np.float32),
            [(0.0, 0)] * count,
        )


def main() -> None:
    """Measure, print the tables, keep the results."""
    arguments = parse()
    sizes = QUICK if arguments.quick else Sizes()
    seed = arguments.seed
    models = Models.load(arguments.model, arguments.instant, sizes.sample, seed)
    table = contestants(models)
    names = set(arguments.sets or ())
    results: dict[str, Any] = {
        "environment": environment(seed),
        "command": _shown(arguments),
        "models": models.names(),
        "sizes": asdict(sizes),
        "retrieval": [],
        "constraints": [],
        "labels": [],
    }
    sets = [own for own in load_sets(arguments.data) if not names or own.name in names]
    for own in track(sets, "sets", console=Console(stderr=True)):
        small = cut(own, sizes.queries, sizes.documents, seed)
        results["retrieval"] += measure_set(small, models, table, sizes, seed)
    if not names or CONSTRAINTS in names:
        results["constraints"] = measure_constraints(
            load_cases(arguments.data, seed),
            models.generic,
            table,
            (sizes.cases, sizes.rows),
            seed,
        )
    if not names or LABELS in names:
        chosen = TASKS[: sizes.tasks]
        results["labels"] = measure_labels(
            chosen, arguments.data, models.generic, table, sizes.queries, seed
        )
    print_report(results)
    if not (arguments.quick or names):
        Console().print(f"kept in {save('retrieval', results)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="encoder: folder or hub id; the package's own by default")
    parser.add_argument("--instant", help="instant query: folder; the package's own by default")
    parser.add_argument("--sets", nargs="*", help=f"names of folders, {CONSTRAINTS}, {LABELS}; all")
    parser.add_argument("--quick", action="store_true", help="few queries; keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def measure_set(
    own: RetrievalSet, models: Models, table: dict[str, Contestant], sizes: Sizes, seed: int
) -> list[dict[str, Any]]:
    """Figures of every contestant on one set: all queries, by aspect, by instruction."""
    documents, texts = list(own.documents), [query.text for query in own.queries]
    stored = Stored(
        own.name, documents, embed(models.generic, documents), own.instructions()[: sizes.fitted]
    )
    vectors, rivals = embed(models.generic, texts), own.rivals()
    figures = {name: Figures.empty(len(texts)) for name in table}
    for instruction in own.instructions():
        rows = _where([query.instruction == instruction for query in own.queries])
        asked = Asked([texts[row] for row in rows], instruction, vectors[rows])
        for name, contestant in table.items():
            scores = contestant(asked, stored)
            if scores is not None:
                judge(own, rows, scores, rivals, figures[name])
    return [
        compare(own, part, of, name, where, figures, seed)
        for part, of, where in parts(own)
        for name in table
        if (where & figures[name].known).any()
    ]


def judge(
    own: RetrievalSet,
    rows: IntArray,
    scores: FloatArray,
    rivals: Sequence[IntArray],
    figures: Figures,
) -> None:
    """Enter the figures of some queries.

    Args:
        own: The set.
        rows: Places of the queries.
        scores: Of all documents for these queries, shape (len(rows), n).
        rivals: By query, documents that answer it under another instruction.
        figures: Where they are entered.
    """
    scores = scores.copy()
    relevant = np.zeros(scores.shape, dtype=np.bool_)
    for place, row in enumerate(rows):
        query = own.queries[row]
        scores[place, query.itself] = -np.inf
        relevant[place, query.relevant] = True
        figures.couples[row] = couples_in_order(scores[place], query.relevant, rivals[row])
    figures.ndcg[rows], figures.recall[rows] = ndcg(scores, relevant), recall(scores, relevant)
    figures.known[rows] = True


def parts(own: RetrievalSet) -> Iterator[tuple[str, str, BoolArray]]:
    """What figures are given for: (kind of part, its name, which queries)."""
    yield "all", "", np.ones(len(own.queries), dtype=np.bool_)
    for part in ("aspect", "instruction"):
        of = np.array([getattr(query, part) for query in own.queries])
        for name in dict.fromkeys(of.tolist()):
            if name:
                yield part, name, of == name


def compare(
    own: RetrievalSet,
    part: str,
    of: str,
    name: str,
    where: BoolArray,
    figures: dict[str, Figures],
    seed: int,
) -> dict[str, Any]:
    """One contestant on a part of a set, beside the generic vectors on the same queries."""
    ours, base = figures[name], figures[GENERIC]
    rows = np.flatnonzero(where & ours.known)
    groups = np.array([own.queries[row].group for row in rows])
    found: dict[str, Any] = {
        "set": own.name,
        "kind": own.kind,
        "documents": len(own.documents),
        "part": part,
        "of": of,
        "method": name,
        "queries": len(rows),
        "ndcg@10": _mean(ours.ndcg[rows]),
        "recall@100": _mean(ours.recall[rows]),
        "generic ndcg@10": _mean(base.ndcg[rows]),
        "generic recall@100": _mean(base.recall[rows]),
    }
    if part == "all":
        found["right order"], found["groups"] = _order(ours, rows, groups)
    if name != GENERIC and (part != "instruction" or own.kind == "plain"):
        differences = {
            "gain": gain(ours.ndcg[rows], base.ndcg[rows], groups, seed=seed),
            "recall gain": gain(ours.recall[rows], base.recall[rows], groups, seed=seed),
        }
        found |= {key: own.to_dict() for key, own in differences.items() if own}
    return found


def _order(figures: Figures, rows: IntArray, groups: IntArray) -> tuple[float | None, int]:
    shares, known = order_by_group([figures.couples[row] for row in rows], groups)
    return (_mean(shares) if len(known) else None), len(known)


def _mean(values: FloatArray) -> float:
    return round(float(values.mean()), 4)


def _where(flags: Sequence[bool]) -> IntArray:
    return np.flatnonzero(np.array(flags, dtype=np.bool_))


def _shown(arguments: argparse.Namespace) -> str:
    """The command without the folders of this machine."""
    options = {
        "--model FOLDER": arguments.model,
        "--instant FOLDER": arguments.instant,
        f"--sets {' '.join(arguments.sets or ())}": arguments.sets,
        "--quick": arguments.quick,
        f"--seed {arguments.seed}": arguments.seed,
    }
    given = [option for option, value in options.items() if value]
    return " ".join(["python -m benchmarks.retrieval --data FOLDER", *given])


if __name__ == "__main__":
    main()
