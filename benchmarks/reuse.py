"""Which instructions mean the same: agreement of paraphrases and of other questions.

    python -m benchmarks.reuse --data FOLDER [--model NAME]

For each task, texts of the pool are encoded under its instruction, under a paraphrase and under a
question about something else (`benchmarks.tasks`). A threshold on the agreement should take
the paraphrase and refuse the other question; sentence similarity of the instructions is measured
beside it.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.environment import environment, save
from benchmarks.tasks import TASKS, Task, embed_under, load
from instruct_embeddings import InstructEncoder
from instruct_embeddings.retrieval.reuse import DEFAULT_TEXTS, agreement
from instruct_embeddings.transform.vectors import unit_rows

THRESHOLDS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.975)
# Shared with `benchmarks.encoder_quality`, whose embeddings are kept.
_ROWS = 300


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(arguments.model)
    rows = [
        measure(task, encoder, arguments.data, arguments.seed)
        for task in track(TASKS, description="tasks", console=Console(stderr=True))
    ]
    results = {"environment": environment(arguments.seed), "model": encoder.name, "rows": rows}
    show(results)
    save("reuse", results)


def measure(task: Task, encoder: InstructEncoder, data: Path, seed: int) -> dict[str, Any]:
    """Agreement and sentence similarity of the paraphrase and of the other question."""
    texts = load(task, data, seed).pool_texts[:_ROWS]
    asked = (task.instruction, task.paraphrase, task.other)
    own, same, other = (embed_under(encoder, texts, one)[:DEFAULT_TEXTS] for one in asked)
    sentences = unit_rows(encoder.encode(asked))
    cosines = sentences @ sentences.T
    return {
        "task": task.name,
        "paraphrase": round(agreement(own, same), 4),
        "other": round(agreement(own, other), 4),
        "paraphrase as a sentence": round(float(cosines[0, 1]), 4),
        "other as a sentence": round(float(cosines[0, 2]), 4),
    }


def accepted(rows: list[dict[str, Any]], threshold: float) -> tuple[int, int]:
    """Paraphrases and other questions that a threshold on the agreement takes for the same."""
    return (
        sum(row["paraphrase"] >= threshold for row in rows),
        sum(row["other"] >= threshold for row in rows),
    )


def show(results: dict[str, Any]) -> None:
    """Two tables."""
    table = Table(title=f"agreement on {DEFAULT_TEXTS} texts, {results['model']}")
    for name in results["rows"][0]:
        table.add_column(name)
    for row in results["rows"]:
        table.add_row(*map(str, row.values()))
    Console(width=140).print(table)
    table = Table(title=f"of {len(results['rows'])} each")
    for name in ("threshold", "paraphrases reused", "other questions reused"):
        table.add_column(name)
    for threshold in THRESHOLDS:
        table.add_row(str(threshold), *map(str, accepted(results["rows"], threshold)))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
