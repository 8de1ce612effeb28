"""What the instant query is trained on, with the frozen vectors of the texts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from instruct_embeddings._records import read_records
from instruct_embeddings._types import FloatArray, IntArray

Embed: TypeAlias = Callable[[str, Sequence[str]], FloatArray]
"""Generic unit vectors of texts, shape (n, d), kept under a name."""

FEWEST_OF_A_LABEL = 3


@dataclass(frozen=True, eq=False)
class Aspect:
    """One question about the texts of a set, and its answers."""

    labels: IntArray  # label of each text, -1 where it has none, shape (n,)
    words: tuple[str, ...]  # how the labels are called, in the order of their numbers
    word_vectors: FloatArray  # their generic vectors, shape (labels, d)
    instructions: tuple[str, ...]  # wordings of the question


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Texts with labels."""

    name: str
    texts: tuple[str, ...]
    vectors: FloatArray  # their generic vectors, shape (n, d)
    aspects: dict[str, Aspect]  # by name


@dataclass(frozen=True)
class Query:
    """A query of a retrieval set."""

    text: str
    vector: int  # row of its vector
    relevant: tuple[int, ...]  # rows of the right documents
    # Row of the document with the same text, which is no answer; None where there is none.
    own: int | None


@dataclass(frozen=True, eq=False)
class RetrievalSet:
    """Queries with the right documents."""

    name: str
    documents: FloatArray  # generic vectors, shape (n, d)
    query_vectors: FloatArray  # generic vectors of the different query texts, shape (q, d)
    # By aspect, or by the kind of query where the set is plain.
    queries: dict[str, tuple[Query, ...]]


def read_labelled(
    file: Path, table: dict[str, Any], embed: Embed, *, most: int, longest: int
) -> list[LabelledSet]:
    """Some texts of a labelled file, each once; no set where no aspect can be asked for.

    The file has JSON lines with `text` and `labels`, as `scripts/prepare_training_data.py` writes;
    the table of instructions of the set has wordings and names of labels by aspect. At most `most`
    texts, of fewer than `longest` characters.
    """
    labelled: dict[str, dict[str, str]] = {}
    for row in _rows(file, "text"):
        if "labels" in row and len(row["text"]) < longest:
            labelled.setdefault(row["text"], row["labels"])
    order = np.random.default_rng(0).permutation(len(labelled))[:most]
    texts = tuple(list(labelled)[i] for i in order)
    rows = [labelled[text] for text in texts]
    aspects: dict[str, Aspect] = {}
    for name in sorted({aspect for row in rows for aspect in row}):
        own, found = table.get(name, {}), [row.get(name) for row in rows]
        if "instructions" in own:
            names = {label: str(word) for label, word in own.get("answers", {}).items()}
            aspect = _aspect(f"{file.stem}.{name}", found, own["instructions"], names, embed)
            aspects |= {name: aspect} if aspect else {}
    return [LabelledSet(file.stem, texts, embed(file.stem, texts), aspects)] if aspects else []


def read_answered(
    file: Path, wordings: dict[str, Sequence[str]], embed: Embed, *, most: int, longest: int
) -> list[LabelledSet]:
    """Texts whose answers under an instruction recur: those with the same answer are alike.

    The file has JSON lines with `text`, `instruction` and `answer`. At most `most` texts of an
    instruction, of fewer than `longest` characters.
    """
    by_instruction: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _rows(file, "text", "instruction", "answer"):
        if len(row["text"]) < longest:
            by_instruction[row["instruction"]].append((row["text"], row["answer"].lower()))
    sets = []
    for number, instruction in enumerate(sorted(by_instruction)):
        pairs = by_instruction[instruction]
        counts = Counter(answer for _, answer in pairs)
        kept = [pair for pair in pairs if counts[pair[1]] >= FEWEST_OF_A_LABEL][:most]
        name = f"{file.stem}-{number}"
        if len(kept) < most // 4 or instruction not in wordings:
            continue
        answers: list[str | None] = [answer for _, answer in kept]
        aspect = _aspect(name, answers, wordings[instruction], {}, embed)
        if aspect is not None:
            texts = tuple(text for text, _ in kept)
            sets.append(LabelledSet(name, texts, embed(name, texts), {"answer": aspect}))
    return sets


def read_retrieval(folder: Path, embed: Embed) -> RetrievalSet:
    """A folder of `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`."""
    documents = {row["id"]: row["text"] for row in _rows(folder / "corpus.jsonl", "id", "text")}
    rows_of = {name: row for row, name in enumerate(documents)}
    by_text = {text: row for row, text in enumerate(documents.values())}
    relevant: dict[str, list[int]] = defaultdict(list)
    for row in _rows(folder / "qrels.tsv"):
        query, document, grade = row.values()
        if float(grade) > 0 and document in rows_of:
            relevant[query].append(rows_of[document])
    rows = [row for row in _rows(folder / "queries.jsonl", "id", "text") if relevant[row["id"]]]
    texts = list(dict.fromkeys(row["text"] for row in rows))
    vector = {text: row for row, text in enumerate(texts)}
    queries: dict[str, list[Query]] = defaultdict(list)
    for row in rows:
        text, right = row["text"], tuple(relevant[row["id"]])
        one = Query(text, vector[text], right, by_text.get(text))
        queries[row.get("kind") or row.get("aspect") or "any"].append(one)
    return RetrievalSet(
        folder.name,
        embed(f"{folder.name}-documents", list(documents.values())),
        embed(f"{folder.name}-queries", texts),
        {name: tuple(found) for name, found in queries.items()},
    )


def _aspect(
    name: str,
    found: Sequence[str | None],
    instructions: Sequence[str],
    names: dict[str, str],
    embed: Embed,
) -> Aspect | None:
    """The labels that enough texts have; None for fewer than two."""
    counts = Counter(label for label in found if label)
    kept = sorted(label for label, count in counts.items() if count >= FEWEST_OF_A_LABEL)
    if len(kept) < 2:
        return None
    numbers = {label: number for number, label in enumerate(kept)}
    labels = np.array([numbers.get(label or "", -1) for label in found], dtype=np.int64)
    words = tuple(names.get(label) or label.replace("_", " ").replace("-", " ") for label in kept)
    return Aspect(labels, words, embed(f"{name}-words", words), tuple(instructions))


def _rows(file: Path, *required: str) -> Iterator[dict[str, Any]]:
    form = "Prepare the data with scripts/prepare_training_data.py"
    return (values for _, values in read_records(file, required, form=form))
