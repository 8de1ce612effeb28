"""Texts with the same label, found under the question that the labels answer; no fit, no label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.retrieval_contestants import GENERIC, Asked, Contestant, Stored
from benchmarks.retrieval_metrics import gain
from benchmarks.tasks import Task, embed, load
from instruct_embeddings import InstructEncoder
from instruct_embeddings.transform.quality import precision_at_k


def measure_labels(
    tasks: Sequence[Task],
    data: Path,
    generic: InstructEncoder,
    table: dict[str, Contestant],
    queries: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Precision@10 of every contestant on every task, beside the generic vectors.

    Args:
        tasks: The tasks; texts of the pool of each are queries, and all of the pool is ranked.
        data: Folder that holds `dev/`.
        generic: Makes the vectors.
        table: Contestants by name; who needs a fit does not compete.
        queries: Of each task, at most.
        seed: Of the choice of texts, and of intervals.
    """
    found = []
    for task in track(tasks, "label tasks", console=Console(stderr=True)):
        split = load(task, data, seed)
        texts = split.pool_texts
        vectors = embed(generic, texts)
        stored = Stored(task.name, texts, vectors, ())
        rows = np.random.default_rng(seed).permutation(len(texts))[:queries]
        asked = Asked([texts[row] for row in rows], task.instruction, vectors[rows])
        relevant = split.pool_labels[rows, None] == split.pool_labels[None]
        relevant[np.arange(len(rows)), rows] = False
        shares = {}
        for name, contestant in table.items():
            scores = contestant(asked, stored)
            if scores is not None:
                scores = scores.copy()
                scores[np.arange(len(rows)), rows] = -np.inf
                shares[name] = precision_at_k(scores, relevant, 10)
        for name, own in shares.items():
            row: dict[str, Any] = {
                "task": task.name,
                "instruction": task.instruction,
                "method": name,
                "queries": len(rows),
                "rows": len(texts),
                "precision@10": round(float(own.mean()), 4),
                "generic precision@10": round(float(shares[GENERIC].mean()), 4),
            }
            difference = None if name == GENERIC else gain(own, shares[GENERIC], seed=seed)
            found.append(row | ({"gain": difference.to_dict()} if difference else {}))
    return found
