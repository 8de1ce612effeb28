"""How often a fit that learned nothing is taken for a gain, and how many true gains are refused.

    python -m benchmarks.chance --data FOLDER [--seeds N]

A transform ranks where its gain on held-out rows exceeds a number of standard errors. Noise: labels
drawn at random for public texts, whatever they say; every gain is false. Real: true labels of as
many rows; a gain is true where precision@10 on further rows, never seen, rises. For each bar the
share of fits on noise that pass, of true gains that pass, and what the mean over all fits comes to.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.encoder_quality_report import Section, show
from benchmarks.environment import environment, save
from benchmarks.tasks import TASKS, Task, embed, load
from instruct_embeddings import FitConfig, InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.quality import precision_at_k
from instruct_embeddings.transform.transform import InstructionTransform

BARS = (1.0, 1.28, 1.645, 2.0, 2.33)
ROWS = (60, 120, 200, 400)
CLASSES = (2, 4, 8)
QUERIES = 300


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--seeds", type=int, default=16, help="of each size of noise")
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="the first so many")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    tasks = TASKS[: arguments.tasks]
    cases = [
        (n, classes, seed) for n in ROWS for classes in CLASSES for seed in range(arguments.seeds)
    ]
    noise = [
        on_noise(tasks[seed % len(tasks)], arguments.data, generic, n, classes, seed)
        for n, classes, seed in track(cases, "noise", console=Console(stderr=True))
    ]
    real = [
        row
        for task in track(tasks, "labels", console=Console(stderr=True))
        for row in on_labels(task, arguments.data, generic, arguments.seed)
    ]
    results = {
        "environment": environment(arguments.seed),
        "sizes": {"seeds": arguments.seeds, "tasks": len(tasks)},
        "noise": noise,
        "real": real,
    }
    for section in sections(results):
        show(section, 120)
    Console().print(f"kept in {save('chance', results)}")


def on_noise(
    task: Task, data: Path, generic: InstructEncoder, n: int, classes: int, seed: int
) -> dict[str, Any]:
    """A fit on labels that mean nothing."""
    split = load(task, data, 0)
    rng = np.random.default_rng(seed)
    texts = [split.texts[row] for row in rng.permutation(len(split.texts))[:n]]
    labels = [str(label) for label in rng.integers(classes, size=len(texts))]
    report = fit(embed(generic, texts), labels, seed).report
    return {
        "rows": len(texts),
        "classes": classes,
        "gain": round(report.adapted - report.generic, 4),
        "error": round(report.gain_error, 4),
    }


def on_labels(
    task: Task, data: Path, generic: InstructEncoder, seed: int
) -> Iterator[dict[str, Any]]:
    """Fits on true labels of more and more rows, each judged on rows that no fit has seen."""
    split = load(task, data, seed)
    pool = embed(generic, split.pool_texts)
    rows = np.random.default_rng(seed).permutation(len(pool))[:QUERIES]
    relevant = split.pool_labels[rows, None] == split.pool_labels[None]
    relevant[np.arange(len(rows)), rows] = False
    before = judged(pool[rows] @ pool.T, rows, relevant)
    for n in ROWS:
        if n > len(split.texts):
            continue
        made = fit(embed(generic, split.texts[:n]), split.labels[:n], seed)
        adapted = np.vstack([made.score(pool[row][None], pool) for row in rows])
        yield {
            "task": task.name,
            "rows": n,
            "gain": round(made.report.adapted - made.report.generic, 4),
            "error": round(made.report.gain_error, 4),
            "true gain": round(judged(adapted, rows, relevant) - before, 4),
        }


def fit(vectors: FloatArray, labels: Sequence[str], seed: int) -> InstructionTransform:
    """As a retriever fits labels at hand."""
    return fit_transform(
        vectors,
        Labels.single(labels),
        instruction="chance",
        guide="labels",
        collection=CollectionInfo("chance", "chance", vectors.shape[1], "cosine"),
        config=FitConfig(seed=seed),
    )


def judged(scores: FloatArray, rows: Any, relevant: Any) -> float:
    """Mean precision@10; no row finds itself."""
    scores = scores.copy()
    scores[np.arange(len(rows)), rows] = -np.inf
    return float(precision_at_k(scores, relevant, 10).mean())


def passes(row: dict[str, Any], bar: float) -> bool:
    """Whether a gain exceeds so many standard errors."""
    return bool(row["gain"] > bar * row["error"])


def sections(results: dict[str, Any]) -> list[Section]:
    """Shares that pass each bar."""
    noise, real = results["noise"], results["real"]
    true = [row for row in real if row["true gain"] > 0]
    lines = []
    for bar in BARS:
        kept = [row["true gain"] if passes(row, bar) else 0.0 for row in real]
        cells = [share(noise, bar), share(true, bar)]
        cells += [share([row for row in true if row["rows"] == n], bar) for n in ROWS]
        lines.append([f"{bar:g}", *cells, f"{np.mean(kept):+.4f}"])
    headings = ["standard errors", f"noise ({len(noise)} fits)", f"true gains ({len(true)})"]
    headings += [*(f"of {n} rows" for n in ROWS), "mean gain of all fits"]
    found = [Section("shares of fits that pass", headings, lines)]
    lines = [
        [f"{bar:g}", *(share([row for row in noise if row["rows"] == n], bar) for n in ROWS)]
        for bar in BARS
    ]
    headings = ["standard errors", *(f"noise, {n} rows" for n in ROWS)]
    return [*found, Section("noise by rows", headings, lines)]


def share(rows: Sequence[dict[str, Any]], bar: float) -> str:
    """Of the rows, those that pass."""
    return f"{np.mean([passes(row, bar) for row in rows]):.2f}" if rows else ""


if __name__ == "__main__":
    main()
