"""What `blend` gains and loses: python -m benchmarks.blend --data FOLDER.

One task that the instruction serves, texts with the same label, and one that it harms, questions
that are answered by topic alone. Both are learned from the encoder, without labels.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.corpora import read_base
from benchmarks.environment import environment, load, save
from benchmarks.pages import Ran, Tabulate
from benchmarks.retrieval_metrics import ndcg
from benchmarks.retrieval_sets import cut, read_set
from instruct_embeddings import EncoderGuide, InstructEncoder, InstructRetriever, TransformWarning
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.quality import leave_self_out
from instruct_embeddings.transform.vectors import unit_rows

BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
TONE, PART = "How does the customer sound?", "Which field of research is it about?"
_QUERIES, _DOCUMENTS = 300, 1000


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    found = [_tickets(encoder), _scifact(encoder, parser.parse_args().data)]
    results = {"environment": environment(0), "blends": BLENDS, "tasks": found}
    for one in found:
        Console().print(one)
    Console().print(f"kept in {save('blend', results)}")


def _tickets(encoder: InstructEncoder) -> dict[str, object]:
    base = read_base(encoder, None, seed=0)
    labels = np.array([row["tone"] for row in base.labels])
    relevant = labels[:, None] == labels[None]
    np.fill_diagonal(relevant, val=False)
    scores = _scores(base.texts, base.vectors, base.vectors, TONE)
    return _task("tickets by tone", TONE, [leave_self_out(one) for one in scores], relevant)


def _scifact(encoder: InstructEncoder, data: Path) -> dict[str, object]:
    own = cut(read_set(data / "dev" / "scifact", "plain"), _QUERIES, _DOCUMENTS, seed=0)
    documents = unit_rows(encoder.encode(list(own.documents)))
    queries = unit_rows(encoder.encode([query.text for query in own.queries]))
    relevant = np.zeros((len(queries), len(documents)), dtype=np.bool_)
    for row, query in enumerate(own.queries):
        relevant[row, query.relevant] = True
    return _task("scifact", PART, _scores(list(own.documents), documents, queries, PART), relevant)


def _scores(
    texts: list[str], vectors: FloatArray, queries: FloatArray, instruction: str
) -> list[FloatArray]:
    """Scores of all rows at each blend, shape (q, n)."""
    retriever = InstructRetriever(InMemoryCollection(vectors, texts=texts), EncoderGuide())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)
        transform = retriever.transform(instruction)
    return [
        np.stack([transform.score(query[None], vectors, blend) for query in queries])
        for blend in BLENDS
    ]


def _task(
    name: str, instruction: str, scores: list[FloatArray], relevant: "np.typing.NDArray[np.bool_]"
) -> dict[str, object]:
    figures = [round(float(ndcg(one, relevant).mean()), 4) for one in scores]
    return {"task": name, "instruction": instruction, "queries": len(relevant), "ndcg@10": figures}


def section(tabulate: Tabulate, ran: Ran) -> str:
    """The part of docs/which.md; nothing where it was not measured."""
    results = load("blend")
    if not results:
        return ""
    lines = [
        [f"{one['task']}: “{one['instruction']}”", *(f"{x:.3f}" for x in one["ndcg@10"])]
        for one in results["tasks"]
    ]
    heads = ("nDCG@10", *(f"blend {blend:g}" for blend in results["blends"]))
    return (
        f"{tabulate(heads, lines)}\n\nBy `make bench-blend DATA=folder`, without labels, the "
        "transform used whether it helps or not. Tickets ask for tickets of the same tone; claims "
        "of scifact for the abstracts that answer them, which no field of research tells apart. "
        f"{ran(results['environment'])}\n"
    )


if __name__ == "__main__":
    main()
