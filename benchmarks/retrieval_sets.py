"""Sets of queries under instructions, read from folders in the form of BEIR.

A folder holds `corpus.jsonl` (`id` or `_id`, `text`, and `title` where there is one),
`queries.jsonl` (besides `instruction`, `group` and `aspect`: queries of one group have the same
text under several instructions) and `qrels.tsv` (a header; query, document, grade). A grade above 0
is an answer and counts 1, since sets disagree on what grades mean.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import IntArray

Kind: TypeAlias = Literal["instructed", "stress", "plain"]
PLAIN, ASPECT = "asks for nothing else", "asks for an aspect"
_STRESS = ("condaqa_yes_no",)
"""At chance for whoever has one vector a passage."""
WORDINGS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "scifact": {
        PLAIN: (
            "Find the abstract that supports the claim",
            "Retrieve the paper in which this statement is tested.",
            "Search for evidence on this claim.",
        ),
        ASPECT: ("Which disease or organism is studied?",),
    },
    "cranfield": {
        PLAIN: (
            "Find the passage that answers the question.",
            "Find reports on the problem that the engineer asks about.",
            "Which document is relevant to this query?",
        ),
        ASPECT: ("Prefer passages that report experimental results",),
    },
}
"""What plain sets are asked under: the same queries, the same answers."""


@dataclass(frozen=True)
class Query:
    """One query under one instruction.

    Attributes:
        text: Of the query.
        instruction: In what respect.
        aspect: Name of the respect; empty where the set names none.
        group: Number of its group; alone where it has none.
        relevant: Places of the documents that answer it.
        itself: Places of documents that are the query; they are no answer and are not ranked.
    """

    text: str
    instruction: str
    aspect: str
    group: int
    relevant: IntArray
    itself: IntArray


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, and queries with their answers.

    Attributes:
        name: Of the folder.
        kind: `instructed`, `stress` for sets at chance, or `plain`: the instruction should change
            nothing.
        documents: Texts.
        queries: Each has an answer.
    """

    name: str
    kind: Kind
    documents: tuple[str, ...]
    queries: tuple[Query, ...]

    def instructions(self) -> list[str]:
        """The instructions, the commonest first; of equally common ones the first that is asked."""
        said = [query.instruction for query in self.queries]
        return sorted(dict.fromkeys(said), key=lambda each: -said.count(each))

    def rivals(self) -> list[IntArray]:
        """By query, documents that answer it under another instruction of its group only."""
        answers: dict[int, set[int]] = {}
        for query in self.queries:
            answers.setdefault(query.group, set()).update(query.relevant.tolist())
        return [
            np.array(
                sorted(answers[q.group] - set(q.relevant.tolist()) - set(q.itself.tolist())),
                dtype=np.int64,
            )
            for q in self.queries
        ]


def load_sets(data: Path) -> Iterator[RetrievalSet]:
    """All sets: those under instructions by name, then the plain ones.

    Args:
        data: Folder that holds `dev/`.
    """
    folder = data / "dev" / "retrieval"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is missing: pass the folder that holds dev/ with --data.")
    for own in sorted(each for each in folder.iterdir() if each.is_dir()):
        yield read_set(own, "stress" if own.name in _STRESS else "instructed")
    for name, wordings in WORDINGS.items():
        yield worded(read_set(data / "dev" / name, "plain"), wordings)


def read_set(folder: Path, kind: Kind) -> RetrievalSet:
    """Read one folder; queries without an answer are left out."""
    corpus = list(_rows(folder / "corpus.jsonl"))
    places = {_id(row): place for place, row in enumerate(corpus)}
    by_text: dict[str, list[int]] = {}
    for place, row in enumerate(corpus):
        by_text.setdefault(str(row["text"]).strip(), []).append(place)
    answers: dict[str, set[int]] = {}
    for query, document in _answers(folder / "qrels.tsv"):
        answers.setdefault(query, set()).add(places[document])
    groups: dict[str, int] = {}
    queries = []
    for row in _rows(folder / "queries.jsonl"):
        text, name = str(row["text"]), _id(row)
        itself = by_text.get(text.strip(), [])
        relevant = sorted(answers.get(name, set()) - set(itself))
        if relevant:
            key = f"group {row['group']}" if "group" in row else name
            group = groups.setdefault(key, len(groups))
            said, aspect = str(row.get("instruction") or ""), str(row.get("aspect") or "")
            queries.append(Query(text, said, aspect, group, np.array(relevant), _places(itself)))
    return RetrievalSet(folder.name, kind, tuple(map(_text, corpus)), tuple(queries))


def worded(own: RetrievalSet, wordings: Mapping[str, Sequence[str]]) -> RetrievalSet:
    """A plain set under instructions: every query under each of them, with the same answers.

    Args:
        own: A set whose queries have no instruction.
        wordings: Instructions by aspect.
    """
    queries = [
        replace(query, instruction=instruction, aspect=aspect)
        for aspect, several in wordings.items()
        for instruction in several
        for query in own.queries
    ]
    return replace(own, queries=tuple(queries))


def cut(own: RetrievalSet, queries: int, documents: int, seed: int) -> RetrievalSet:
    """A small version: whole groups drawn at random, their documents and some others.

    Args:
        own: The set.
        queries: Queries, about: the last group may add some.
        documents: Documents, unless those of the queries are more.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    chosen: list[Query] = []
    for group in rng.permutation(np.unique([query.group for query in own.queries])):
        if len(chosen) >= queries:
            break
        chosen += [query for query in own.queries if query.group == group]
    needed = {place for query in chosen for place in (*query.relevant, *query.itself)}
    others = [place for place in rng.permutation(len(own.documents)) if place not in needed]
    kept = np.sort([*needed, *others[: max(0, documents - len(needed))]])
    return replace(
        own,
        documents=tuple(own.documents[place] for place in kept),
        queries=tuple(
            replace(
                query,
                relevant=np.searchsorted(kept, query.relevant),
                itself=np.searchsorted(kept, query.itself),
            )
            for query in chosen
        ),
    )


def _text(row: Mapping[str, Any]) -> str:
    """Title and text; some texts begin with their title."""
    title, text = str(row.get("title") or "").strip(), str(row["text"]).strip()
    return text if text.startswith(title) else f"{title} {text}"


def _answers(file: Path) -> Iterator[tuple[str, str]]:
    with _open(file).open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows, None)
        for query, document, grade in rows:
            if float(grade) > 0:
                yield query, document


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with _open(file).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _open(file: Path) -> Path:
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    return file


def _id(row: Mapping[str, Any]) -> str:
    return str(row["_id"] if "_id" in row else row["id"])


def _places(found: Sequence[int]) -> IntArray:
    return np.array(found, dtype=np.int64)
