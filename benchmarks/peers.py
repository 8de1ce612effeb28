"""Ranking quality of ours and of peers side by side: same texts, same labels, same pools.

    python -m benchmarks.peers --data FOLDER [--quick]

The tasks, the pools of at most 1,500 rows and the 500 queries are those of
`benchmarks.transform`, and so are precision@10 and V-measure. What learns from labels gets
the same rows, at most 1,000. What each costs as a collection grows is measured by
`benchmarks.peers_scale`.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning

from benchmarks.encoder_quality import Sizes, by_cosine, cut, exactly, searched
from benchmarks.encoder_quality import fit as fit_targets
from benchmarks.environment import environment, save
from benchmarks.peers_adapter import AS_DOCUMENTED, LONGER, versions
from benchmarks.peers_methods import PEERS
from benchmarks.tasks import TASKS, Split, Task, embed, embed_under, load
from benchmarks.transform import (
    FOLDED,
    GENERIC,
    PREFIX,
    RESCORED,
    Ranked,
    fit,
    folded,
    judge,
)
from instruct_embeddings import InstructEncoder
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.transform.vectors import unit_rows

LABEL_FREE = "ours, taught by our encoder, no labels"
REENCODED = "everything re-encoded by our encoder"
QUICK = Sizes(sample=300, pool=300)
QUICK_TASKS = ("trec/coarse", "massive_en/intent", "debian_packages/role")


def main() -> None:
    """Measure, print the means, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--quick", action="store_true", help="3 tasks of 300 rows; keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.data, arguments.seed, quick=arguments.quick)


def run(data: Path, seed: int, *, quick: bool) -> dict[str, Any]:
    """All tasks; results are kept unless it is quick."""
    chosen = [task for task in TASKS if not quick or task.name in QUICK_TASKS]
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    encoder = InstructEncoder.from_pretrained()
    rows: list[dict[str, Any]] = []
    for task in track(chosen, description="tasks", console=Console(stderr=True)):
        split = cut(load(task, data, seed), QUICK if quick else Sizes())
        rows += measure(task, split, generic, encoder, seed)
    results = {
        "environment": environment(seed),
        "model": encoder.name,
        "threads": torch.get_num_threads(),
        "adapter": {
            "versions": versions(),
            "as documented": vars(AS_DOCUMENTED),
            "trained longer": vars(LONGER),
        },
        "rows": rows,
    }
    show(rows)
    if not quick:
        save("peers", results)
    return results


def measure(
    task: Task, split: Split, generic: InstructEncoder, encoder: InstructEncoder, seed: int
) -> Iterator[dict[str, Any]]:
    """Every method on one task."""
    for method, ranked in rank(task, split, generic, encoder, seed):
        with warnings.catch_warnings():
            # The centroid classifier has no more distinct vectors than there are labels.
            warnings.simplefilter("ignore", ConvergenceWarning)
            precision, v_measure = judge(*ranked, split, seed)
        yield {
            "task": task.name,
            "method": method,
            "labels": len(split.labels),
            "precision@10": round(precision, 4),
            "v_measure": round(v_measure, 4),
        }


def rank(
    task: Task, split: Split, generic: InstructEncoder, encoder: InstructEncoder, seed: int
) -> Iterator[tuple[str, Ranked]]:
    """Scores of the pool and vectors to cluster, by method."""
    x, pool = embed(generic, split.texts), embed(generic, split.pool_texts)
    yield GENERIC, by_cosine(pool)
    yield PREFIX, by_cosine(embed(generic, split.pool_texts, task.instruction))
    for name, learn in PEERS.items():
        yield name, learn(x, split.labels, seed).rank(pool)
    transform = fit(x, split.labels, task, seed)
    yield FOLDED, folded(transform, pool)
    yield RESCORED, searched(folded(transform, pool)[0], *exactly(transform, pool))
    targets = embed_under(encoder, split.texts, task.instruction)
    taught = fit_targets(x, targets, task, seed)
    yield LABEL_FREE, searched(folded(taught, pool)[0], *exactly(taught, pool))
    again = embed_under(encoder, split.pool_texts, task.instruction)
    yield REENCODED, by_cosine(unit_rows(again))


def show(rows: list[dict[str, Any]]) -> None:
    """Means over the tasks."""
    table = Table(title="means over the tasks")
    for heading in ("method", "precision@10", "V-measure"):
        table.add_column(heading)
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        precision, v_measure = (
            mean(r[name] for r in own) for name in ("precision@10", "v_measure")
        )
        table.add_row(method, f"{precision:.3f}", f"{v_measure:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
