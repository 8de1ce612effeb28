"""The drop-in class with a query instruction: python -m benchmarks.drop_in.

Each sample ticket is a query of `InstructEmbeddings(query_instruction=...)` over all others,
embedded as an application would; right are those with the same label.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.encoder_quality_report import Section, show
from benchmarks.environment import environment, save
from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.quality import precision_at_k
from instruct_embeddings.transform.vectors import unit_rows
from langchain_instruct_embeddings import InstructEmbeddings

TICKETS = Path("examples/data/tickets.jsonl")
ASKED = {
    "How does the customer sound?": "tone",
    "What kind of problem is reported?": "problem",
    "Which part of the product is it about?": "area",
    "Find the ticket that reports the same problem": "problem",
}


def main() -> None:
    """Measure, print, keep."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    rows = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    plain = InstructEmbeddings()
    documents = unit_rows(np.asarray(plain.embed_documents(texts), dtype=np.float32))
    found = []
    for instruction, label in ASKED.items():
        labels = np.array([row[label] for row in rows])
        asked = InstructEmbeddings(query_instruction=instruction)
        figures = [precision(one, texts, documents, labels) for one in (plain, asked)]
        found.append([instruction, label, *(round(figure, 4) for figure in figures)])
    headings = ["query_instruction", "label", "without", "with it"]
    shown = [[str(cell) for cell in line] for line in found]
    show(Section(f"precision@10 over {len(rows)} tickets", headings, shown), 120)
    results = {"environment": environment(0), "rows": len(rows), "asked": found}
    Console().print(f"kept in {save('drop-in', results)}")


def precision(
    embeddings: InstructEmbeddings,
    texts: list[str],
    documents: FloatArray,
    labels: "np.ndarray[tuple[int], np.dtype[np.str_]]",
) -> float:
    """Mean precision@10 of all texts as queries; none finds itself."""
    queries = unit_rows(np.asarray([embeddings.embed_query(text) for text in texts], np.float32))
    scores = queries @ documents.T
    np.fill_diagonal(scores, -np.inf)
    return float(precision_at_k(scores, labels[:, None] == labels[None], 10).mean())


if __name__ == "__main__":
    main()
