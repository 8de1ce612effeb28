"""Chunks that know the text around them: python -m benchmarks.situated --data FOLDER [--quick].

Questions whose answer stands in one chunk of two sentences ask for that chunk among all chunks of
all passages. Every contestant stores one vector a chunk. The share of the context is chosen on one
set and judged on the others; a model that was trained on none of them reads all.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.environment import environment, load, save
from benchmarks.pages import Ran, Tabulate
from benchmarks.retrieval_metrics import gain
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.transform.vectors import unit_rows

SENTENCES, AT = 2, 10
SHARES = (0.25, 0.5, 0.75, 1.0)
# File and what is kept of it; the first chooses, the others judge.
SETS = {
    "fairytaleqa, validation": ("fairytaleqa", "val"),
    "fairytaleqa, test": ("fairytaleqa", "test"),
    "xquad_en": ("xquad_en", None),
}
PLAIN, LARGER, OPENING, BOTH = (
    "chunk alone",
    "with the chunk before and after it",
    "first sentence of the passage in front",
    "mean with the vector of the passage",
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]+[\"')]*\s*|[^.!?]+$")
_NAME = re.compile(r"\b[A-Z][a-z]+")


@dataclass(frozen=True)
class Questions:
    """Passages cut into chunks, and questions that one chunk answers.

    Attributes:
        passages: Whole texts.
        chunks: Passage, first character and the one after the last of each chunk.
        questions: Texts.
        answers: The chunk that answers each.
        hidden: Whether the question has a name that stands in the passage and not in that chunk.
    """

    passages: list[str]
    chunks: list[tuple[int, int, int]]
    questions: list[str]
    answers: IntArray
    hidden: BoolArray

    @property
    def texts(self) -> list[str]:
        """Texts of the chunks."""
        return [self.passages[p][start:stop] for p, start, stop in self.chunks]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/")
    parser.add_argument("--quick", action="store_true", help="40 passages a set; keeps nothing")
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    found = []
    for name in SETS:
        asked = read(arguments.data, name, 40 if arguments.quick else None)
        found.append(measure(name, asked, encoder))
        Console().print(found[-1])
    results = {"environment": environment(0), "model": encoder.name, "sets": found}
    if not arguments.quick:
        Console().print(f"kept in {save('situated', results)}")


def read(data: Path, name: str, most: int | None = None) -> Questions:
    """The questions of a set whose answer stands in exactly one chunk of their passage."""
    file, split = SETS[name]
    with (data / "train" / f"{file}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if split is None or row["split"] == split]
    passages = list(dict.fromkeys(row["text"] for row in rows))[:most]
    numbers = {text: number for number, text in enumerate(passages)}
    chunks, of_passage = [], {}
    for number, text in enumerate(passages):
        first = len(chunks)
        chunks += [(number, *span) for span in cut(text)]
        of_passage[number] = range(first, len(chunks))
    questions, answers, hidden = [], [], []
    for row in (one for one in rows if one["text"] in numbers):
        text, answer = row["text"], row["answer"].strip().lower()
        own = of_passage[numbers[text]]
        holders = [c for c in own if answer in text[chunks[c][1] : chunks[c][2]].lower()]
        if len(answer) < 4 or len(holders) != 1:
            continue
        _, start, stop = chunks[holders[0]]
        names = set(_NAME.findall(row["instruction"].split(maxsplit=1)[-1]))
        questions.append(row["instruction"])
        answers.append(holders[0])
        hidden.append(any(one in text and one not in text[start:stop] for one in names))
    return Questions(passages, chunks, questions, np.array(answers), np.array(hidden))


def cut(text: str) -> list[tuple[int, int]]:
    """First character and the one after the last of every two sentences."""
    sentences = [match.span() for match in _SENTENCE.finditer(text)]
    groups = [sentences[at : at + SENTENCES] for at in range(0, len(sentences), SENTENCES)]
    spans = [(group[0][0], group[-1][1]) for group in groups]
    return [(start, stop) for start, stop in spans if text[start:stop].strip()]


def measure(name: str, asked: Questions, encoder: InstructEncoder) -> dict[str, Any]:
    """Recall@10 and mean reciprocal rank of all contestants, over all and over hidden names."""
    queries = unit_rows(encoder.encode(asked.questions))
    ranks = {
        method: rank_of(queries, vectors, asked.answers)
        for method, vectors in contestants(asked, encoder).items()
    }
    base = ranks[PLAIN]
    rows = []
    for method, rank in ranks.items():
        row: dict[str, Any] = {"method": method}
        for part, kept in (("all", np.ones(len(rank), dtype=np.bool_)), ("hidden", asked.hidden)):
            hits, plain = ((one[kept] < AT).astype(np.float32) for one in (rank, base))
            difference = gain(hits, plain)
            row[part] = {
                "recall@10": round(float(hits.mean()), 4),
                "mrr": round(float((1 / (rank[kept] + 1)).mean()), 4),
                "gain": difference and [round(x, 4) for x in astuple(difference)],
            }
        rows.append(row)
    return {
        "set": name,
        "passages": len(asked.passages),
        "chunks": len(asked.chunks),
        "questions": len(asked.questions),
        "hidden": int(asked.hidden.sum()),
        "rows": rows,
    }


def contestants(asked: Questions, encoder: InstructEncoder) -> dict[str, FloatArray]:
    """One unit vector a chunk, by method."""
    texts, passages = asked.texts, asked.passages
    owners = [passage for passage, _, _ in asked.chunks]
    whole = unit_rows(encoder.encode(passages))[owners]
    alone = unit_rows(encoder.encode(texts))
    openings = [passages[p][slice(*cut(passages[p])[0])].split(". ")[0] for p in owners]
    around = neighbours(asked)
    contexts = [passages[passage] for passage in owners]
    starts = [start for _, start, _ in asked.chunks]
    late = encoder.encode_situated(texts, contexts, starts=starts, share=1)
    situated = {
        f"within the passage, share {share:g}": unit_rows((1 - share) * alone + share * late)
        for share in SHARES
    }
    return {
        PLAIN: alone,
        LARGER: unit_rows(encoder.encode(around)),
        OPENING: unit_rows(
            encoder.encode([f"{a}. {b}" for a, b in zip(openings, texts, strict=True)])
        ),
        BOTH: unit_rows(alone + whole),
        **situated,
    }


def neighbours(asked: Questions) -> list[str]:
    """Each chunk with the one before and the one after it in its passage."""
    found = []
    for i, (passage, start, stop) in enumerate(asked.chunks):
        near = [one for one in asked.chunks[max(0, i - 1) : i + 2] if one[0] == passage]
        first, last = min(one[1] for one in near), max(one[2] for one in near)
        found.append(asked.passages[passage][min(first, start) : max(last, stop)])
    return found


def rank_of(queries: FloatArray, vectors: FloatArray, answers: IntArray) -> IntArray:
    """How many chunks stand before the one that answers, shape (q,)."""
    scores = queries @ vectors.T
    own = scores[np.arange(len(answers)), answers]
    return np.asarray((scores > own[:, None]).sum(axis=1), dtype=np.int64)


def section(tabulate: Tabulate, ran: Ran) -> str:
    """The figures of docs/how-to/chunks.md; nothing where nothing was measured."""
    results = load("situated")
    if not results:
        return ""
    sets: Sequence[dict[str, Any]] = results["sets"]
    heads = ["one vector a chunk"]
    for one in sets:
        heads += [f"{one['set']}: all {one['questions']:,}", f"{one['hidden']:,} of hidden names"]
    lines = []
    for place, row in enumerate(sets[0]["rows"]):
        line = [row["method"]]
        for one in sets:
            line += [_cell(one["rows"][place][part]) for part in ("all", "hidden")]
        lines.append(line)
    sizes = ", ".join(f"{one['chunks']:,} chunks of {one['passages']:,} passages" for one in sets)
    return (
        f"{tabulate(tuple(heads), lines)}\n\nBy `make bench-situated DATA=folder`: recall@10, and "
        f"in brackets the mean reciprocal rank. {sizes}, of two sentences each; a question asks "
        "for the chunk that holds its answer, among all chunks. Names are hidden where a question "
        "has one that stands in its passage and not in the chunk. The share is chosen on the first "
        f"set. Model: {results['model']}. {ran(results['environment'])}\n"
    )


def _cell(found: dict[str, Any]) -> str:
    return f"{found['recall@10']:.3f} ({found['mrr']:.3f})"


if __name__ == "__main__":
    main()
