"""Test-time scaling of GIRCSE: quality and cost against the steps of refinement.

    python -m benchmarks.refinement --data FOLDER [--model NAME] [--quick]

The encoder was trained with four steps. K = 0 pools the input instead of soft tokens.
"""

import argparse
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.encoder_quality import Sizes, by_cosine, cut
from benchmarks.environment import environment, save
from benchmarks.tasks import TASKS, load
from benchmarks.transform import judge
from instruct_embeddings import InstructEncoder

MODEL = "instruct-minilm-l6-refine-v1"
MOST = 8
ROUNDS = 3
TIMED = 256
POOL, QUICK_POOL = 300, 80


def main() -> None:
    """Measure every K, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two tasks of 80 rows; keeps nothing")
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(arguments.model)
    tasks, pool = (TASKS[:2], QUICK_POOL) if arguments.quick else (TASKS, POOL)
    found: list[list[tuple[float, float]]] = [[] for _ in range(MOST + 1)]
    texts: list[str] = []
    for task in track(tasks, description="tasks", console=Console(stderr=True)):
        split = cut(load(task, arguments.data, arguments.seed), Sizes(1, pool))
        texts += split.pool_texts[: TIMED // len(TASKS) + 1]
        steps = encoder.encode_steps(
            split.pool_texts, instruction=task.instruction, refine_steps=MOST
        )
        none = encoder.encode(split.pool_texts, instruction=task.instruction, refine_steps=0)
        for k, vectors in enumerate([none, *steps]):
            found[k].append(judge(*by_cosine(vectors), split, arguments.seed))
    seconds = cost(encoder, texts[:TIMED])
    rows = [
        {
            "steps": k,
            "precision@10": round(mean(p for p, _ in own), 4),
            "v_measure": round(mean(v for _, v in own), 4),
            "milliseconds a text": round(1000 * seconds[k], 3),
        }
        for k, own in enumerate(found)
    ]
    show(rows)
    if arguments.quick:
        return
    results: dict[str, Any] = {
        "environment": environment(arguments.seed),
        "model": encoder.name,
        "pool": pool,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    Console().print(f"kept in {save('refinement', results)}")


def cost(encoder: InstructEncoder, texts: list[str]) -> list[float]:
    """Seconds a text for each K: medians of rounds in which all take turns."""
    times: list[list[float]] = [[] for _ in range(MOST + 1)]
    for _ in range(ROUNDS):
        for k in range(MOST + 1):
            start = time.perf_counter()
            encoder.encode(texts, instruction=TASKS[0].instruction, refine_steps=k)
            times[k].append((time.perf_counter() - start) / len(texts))
    return [median(own) for own in times]


def show(rows: list[dict[str, Any]]) -> None:
    """One line a K."""
    table = Table(title="means over the tasks, everything re-encoded")
    for heading in ("K", "precision@10", "V-measure", "ms a text"):
        table.add_column(heading)
    for row in rows:
        quality = (f"{row['precision@10']:.3f}", f"{row['v_measure']:.3f}")
        table.add_row(str(row["steps"]), *quality, f"{row['milliseconds a text']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
