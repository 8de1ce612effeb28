"""Large collections for timing: real vectors mixed in pairs and jittered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.tasks import TASKS, embed, load_texts
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.vectors import unit_rows

TICKETS = Path("examples/data/tickets.jsonl")
_JITTER = 0.015
_SHOWN = 200  # characters of a text that are stored
_BATCH = 5000


Batch: TypeAlias = tuple[list[str], FloatArray, list[str], list[dict[str, Any]]]


@dataclass(frozen=True)
class Base:
    """Real texts, their vectors and their labels.

    Attributes:
        vectors: Unit rows, shape (b, d).
        texts: Their texts.
        labels: Metadata of each text: aspect to label.
        instructions: Aspect to the instruction that asks for it.
    """

    vectors: FloatArray
    texts: list[str]
    labels: list[dict[str, Any]]
    instructions: dict[str, str]


def read_base(encoder: InstructEncoder, data: Path | None, seed: int) -> Base:
    """The shipped tickets, or the labelled texts of a data folder."""
    if data is not None:
        texts, labels = load_texts(data, seed)
        instructions = {
            f"{task.file}.{task.aspect}": task.instruction for task in TASKS if task.name in _ASKED
        }
    else:
        rows = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
        texts = [row["text"] for row in rows]
        labels = [{aspect: row[aspect] for aspect in _TICKET_ASPECTS} for row in rows]
        instructions = dict(_TICKET_ASPECTS)
    return Base(embed(encoder, texts), texts, labels, instructions)


def mixed_batches(
    base: Base, size: int, seed: int
) -> Iterator[tuple[FloatArray, np.ndarray[Any, Any]]]:
    """Batches of mixed vectors, (b, d), and the position of the parent whose labels each has."""
    rng = np.random.default_rng(seed)
    for start in range(0, size, _BATCH):
        yield mix(base, min(_BATCH, size - start), rng)


def row_batches(base: Base, size: int, seed: int) -> Iterator[Batch]:
    """Rows to store: ids r0, r1 and so on, mixed vectors, texts and labels of their parents."""
    start = 0
    for vectors, parents in mixed_batches(base, size, seed):
        ids = [f"r{start + i}" for i in range(len(vectors))]
        texts = [base.texts[i][:_SHOWN] for i in parents]
        yield ids, vectors, texts, [base.labels[i] for i in parents]
        start += len(vectors)


def mix(
    base: Base, size: int, rng: np.random.Generator, first: np.ndarray[Any, Any] | None = None
) -> tuple[FloatArray, np.ndarray[Any, Any]]:
    """Vectors between a first parent, which gives most, and a second one, plus noise."""
    one = rng.integers(0, len(base.vectors), size) if first is None else first
    other = rng.integers(0, len(base.vectors), size)
    share = rng.uniform(0.6, 1.0, (size, 1))
    noise = rng.normal(0, _JITTER, (size, base.vectors.shape[1]))
    return unit_rows(share * base.vectors[one] + (1 - share) * base.vectors[other] + noise), one


_ASKED = {
    "debian_packages/role",
    "debian_packages/interface",
    "massive_en/intent",
    "massive_en/scenario",
}
_TICKET_ASPECTS = {
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
    "urgency": "How urgent is it?",
}
