"""Ranking quality of transforms against peers, by task and number of labelled rows.

    python -m benchmarks.transform --data FOLDER

Every method ranks the same held-out pool (at most 1,500 rows, none of them labelled for it) for
the same 500 queries out of that pool; precision@10 is the share of the ten best that carry the
query's label, V-measure compares k-means on the pool's vectors with the labels.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score

from benchmarks.environment import environment, save
from benchmarks.tasks import TASKS, Split, Task, embed, load
from instruct_embeddings import FitConfig, InstructEncoder, InstructionTransform
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.retrieval.ranking import DEFAULT_RESCORE
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.network import NetworkConfig, fit_encoder
from instruct_embeddings.transform.problems import LabelProblem
from instruct_embeddings.transform.quality import precision_at_k
from instruct_embeddings.transform.vectors import unit_rows

QUERIES = 500
K = 10
SIZES = (100, 300, 1000)
Ranked: TypeAlias = tuple[FloatArray, FloatArray]
"""Scores of the pool, (n, n), and its vectors to cluster, (n, p)."""

GENERIC = "generic"
PREFIX = "instruction in front of the text"
POSTERIOR = "posterior of a logistic regression"
GSTRANSFORM = "GSTransform encoder-decoder"
FOLDED = "ours, folded"
RESCORED = "ours, folded and rescored"


def main() -> None:
    """Run the tasks, print the tables, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="*", help="names such as trec/coarse; all by default")
    arguments = parser.parse_args()
    chosen = [task for task in TASKS if not arguments.tasks or task.name in arguments.tasks]
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    rows: list[dict[str, Any]] = []
    for task in track(chosen, description="tasks", console=Console(stderr=True)):
        rows.extend(run_task(task, load(task, arguments.data, arguments.seed), encoder, arguments))
    for size in SIZES:
        print_table(rows, size)
    print_means(rows)
    if not arguments.tasks:
        file = save("transform", {"environment": environment(arguments.seed), "rows": rows})
        Console().print(f"kept in {file}")


def run_task(
    task: Task, split: Split, encoder: InstructEncoder, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Measure every method at every number of labels."""
    learn, pool = embed(encoder, split.texts), embed(encoder, split.pool_texts)
    prefixed = embed(encoder, split.pool_texts, task.instruction)
    fixed = {GENERIC: (pool @ pool.T, pool), PREFIX: (prefixed @ prefixed.T, prefixed)}
    unsupervised = {name: judge(s, z, split, arguments.seed) for name, (s, z) in fixed.items()}
    for size in SIZES:
        found = dict(unsupervised)
        x, y = learn[:size], split.labels[:size]
        ranked = {name: peer(x, y, pool, arguments.seed) for name, peer in PEERS.items()}
        transform = fit(x, y, task, arguments.seed)
        ranked[FOLDED], ranked[RESCORED] = folded(transform, pool), rescored(transform, pool)
        for name, (scores, space) in ranked.items():
            found[name] = judge(scores, space, split, arguments.seed)
        for name, (precision, v_measure) in found.items():
            yield {
                "task": task.name,
                "labels": size,
                "rows": len(x),
                "method": name,
                "precision@10": round(precision, 4),
                "v_measure": round(v_measure, 4),
            }


def judge(scores: FloatArray, space: FloatArray, split: Split, seed: int) -> tuple[float, float]:
    """(precision@10, V-measure) of scores (n, n) and vectors (n, p) of the pool."""
    own = scores[:QUERIES].copy()
    own[np.arange(len(own)), np.arange(len(own))] = -np.inf
    labels = split.pool_labels
    precision = precision_at_k(own, labels[: len(own), None] == labels[None], K).mean()
    clusters = KMeans(len(np.unique(labels)), n_init=3, random_state=seed).fit_predict(space)
    return float(precision), float(v_measure_score(labels, clusters))


def lda(x: FloatArray, y: list[str], pool: FloatArray, seed: int) -> Ranked:
    """Linear discriminant analysis with Ledoit-Wolf shrinkage, ranked by cosine."""
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(x, y)
    space = unit_rows(model.transform(pool))
    return space @ space.T, space


def posterior(x: FloatArray, y: list[str], pool: FloatArray, seed: int) -> Ranked:
    """Label probabilities of a logistic regression, ranked by inner product."""
    model = LogisticRegression(C=10, max_iter=1000).fit(x, y)
    space = model.predict_proba(pool).astype(np.float32)
    return space @ space.T, space


def gstransform(noise: float) -> Callable[[FloatArray, list[str], FloatArray, int], Ranked]:
    """The encoder-decoder alone; without input noise as published."""
    config = NetworkConfig(width=256, size=128, batch=512, steps=120, rate=3e-3, noise=noise)

    def peer(x: FloatArray, y: list[str], pool: FloatArray, seed: int) -> Ranked:
        problem = LabelProblem.of(x, Labels.single(y))
        same = (problem.targets @ problem.targets.T) > 0
        space = fit_encoder(problem.vectors, same, config, seed).encode(pool)
        return space @ space.T, space

    return peer


PEERS = {
    "LDA": lda,
    POSTERIOR: posterior,
    GSTRANSFORM: gstransform(noise=0.0),
    "GSTransform with input noise": gstransform(noise=NetworkConfig().noise),
}


def fit(x: FloatArray, y: list[str], task: Task, seed: int) -> InstructionTransform:
    """Ours."""
    return fit_transform(
        x,
        Labels.single(y),
        instruction=task.instruction,
        guide=f"labels:{task.name}",
        collection=CollectionInfo(task.file, task.name, x.shape[1], "cosine"),
        config=FitConfig(seed=seed),
    )


def folded(transform: InstructionTransform, pool: FloatArray) -> Ranked:
    """The folded query alone: what the index itself ranks."""
    queries = transform.query.fold(pool)
    return queries @ pool.T, queries


def rescored(transform: InstructionTransform, pool: FloatArray) -> Ranked:
    """Folded prefetch; the best candidates rescored, as a search does. Clusters as folded."""
    scores, space = folded(transform, pool)
    np.fill_diagonal(scores, -np.inf)
    out = scores - 10.0  # whatever is not rescored stays behind what is
    for row in range(min(QUERIES, len(pool))):
        best = np.argpartition(-scores[row], DEFAULT_RESCORE)[:DEFAULT_RESCORE]
        out[row, best] = transform.score(pool[row : row + 1], pool[best])
    return out, space


def print_table(rows: list[dict[str, Any]], size: int) -> None:
    """One line a task: precision@10 / V-measure of each method."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    table = Table(title=f"precision@10 / V-measure with at most {size} labelled rows")
    for heading in ("task", *names):
        table.add_column(heading)
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = {
            row["method"]: f"{row['precision@10']:.3f} / {row['v_measure']:.2f}"
            for row in rows
            if row["task"] == task and row["labels"] == size
        }
        table.add_row(task, *(cells[name] for name in names))
    Console(width=200).print(table)


def print_means(rows: list[dict[str, Any]]) -> None:
    """Means over the tasks, and the worst task against the generic vectors."""
    table = Table(title="means over the tasks; worst = smallest gain in precision@10 on any task")
    for heading in ("method", *(f"{size} labels" for size in SIZES), "worst at 1,000"):
        table.add_column(heading)
    base = _by_task(rows, GENERIC, SIZES[-1])
    for name in dict.fromkeys(row["method"] for row in rows):
        own = _by_task(rows, name, SIZES[-1])
        cells = [_means(rows, name, size) for size in SIZES]
        table.add_row(name, *cells, f"{min(own[task] - base[task] for task in own):+.3f}")
    Console(width=140).print(table)


def _means(rows: list[dict[str, Any]], name: str, size: int) -> str:
    own = [row for row in rows if row["method"] == name and row["labels"] == size]
    precision = mean(row["precision@10"] for row in own)
    return f"{precision:.3f} / {mean(row['v_measure'] for row in own):.3f}"


def _by_task(rows: list[dict[str, Any]], name: str, size: int) -> dict[str, float]:
    return {
        row["task"]: row["precision@10"]
        for row in rows
        if row["method"] == name and row["labels"] == size
    }


if __name__ == "__main__":
    main()
