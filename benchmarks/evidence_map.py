"""One corpus under three instructions: where its texts lie, and how well their labels group.

    python -m benchmarks.evidence_map

The shipped tickets, adapted without labels by the encoder of the package; labels only colour the
map and measure it.
"""

import json
import warnings
from typing import Any

import numpy as np

from benchmarks.corpora import TICKETS
from benchmarks.environment import environment, save
from benchmarks.tasks import embed
from instruct_embeddings import EncoderGuide, InstructEncoder, InstructRetriever, TransformWarning
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.explain.categories import adapted_view
from instruct_embeddings.explain.map import project
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.quality import leave_self_out, precision_at_k
from instruct_embeddings.transform.vectors import unit_rows

ASPECTS = {
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
}
K = 10
_SEED = 0


def main() -> None:
    """Adapt, lay out, keep."""
    run(quick=False)


def run(*, quick: bool) -> dict[str, Any]:
    """The map; kept unless it is quick."""
    tickets = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
    texts = [ticket["text"] for ticket in tickets]
    stored = unit_rows(embed(InstructEncoder.from_pretrained(BASE_MODEL), texts))
    encoder = InstructEncoder.from_pretrained()
    retriever = InstructRetriever(
        InMemoryCollection(stored, texts=texts, name="tickets"), EncoderGuide(encoder)
    )
    results: dict[str, Any] = {
        "environment": environment(_SEED),
        "model": encoder.name,
        "stored": _points(stored),
        "aspects": [
            aspect(retriever, stored, key, [ticket[key] for ticket in tickets]) for key in ASPECTS
        ],
    }
    if not quick:
        save("evidence-map", results)
    return results


def aspect(
    retriever: InstructRetriever, stored: FloatArray, key: str, labels: list[str]
) -> dict[str, Any]:
    """One instruction: labels, points, and precision@10 before and after."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)
        transform = retriever.transform(ASPECTS[key])
    adapted = adapted_view(transform, stored)
    return {
        "aspect": key,
        "instruction": ASPECTS[key],
        "labels": labels,
        "points": _points(adapted),
        "precision@10": [_precision(stored, labels), _precision(adapted, labels)],
    }


def _points(vectors: FloatArray) -> list[list[float]]:
    return [[round(float(x), 3), round(float(y), 3)] for x, y in project(vectors, seed=_SEED)]


def _precision(vectors: FloatArray, labels: list[str]) -> float:
    same = np.array(labels)[:, None] == np.array(labels)[None]
    scores = leave_self_out(vectors @ vectors.T)
    return round(float(precision_at_k(scores, same, K).mean()), 4)


if __name__ == "__main__":
    main()
