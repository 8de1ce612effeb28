"""Topic in the query, constraint in the instruction: whether a search keeps both.

    python -m benchmarks.constraints_suite --data FOLDER

Collections come from sets whose labels say who is right: packages of Debian with their facet tags,
and commands to assistants (MASSIVE, MTOP) with a domain and an intent. A package is asked for in a
short phrase, a command by another command of the same domain, which is not in the collection and
does not satisfy the constraint itself. The instruction says "only", "no", "prefer" or "for". Cases
are chosen by counts alone: enough rows on the topic satisfy the constraint, and far from all do.
The words of topics and constraints are in `constraints_words`.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from benchmarks.constraints_words import (
    COMMANDS,
    DEBIAN,
    INTENTS,
    KINDS,
    Constraint,
    Facets,
)
from benchmarks.tasks import labelled
from instruct_embeddings._types import BoolArray, FloatArray

K = 10
MOST_ROWS = 3000
MIN_ROWS = 30
MOST_SHARE = 0.8
MOST_CASES = 64


@dataclass(frozen=True)
class ConstraintCase:
    """One query under one instruction.

    Attributes:
        collection: Name of the collection it asks.
        query: Says the topic.
        instruction: Says the constraint.
        kind: `only`, `no`, `prefer` or `for`.
        satisfied: Which rows the constraint allows or wants, shape (n,).
        on_topic: Which rows are about the topic, shape (n,).
    """

    collection: str
    query: str
    instruction: str
    kind: str
    satisfied: BoolArray
    on_topic: BoolArray


@dataclass(frozen=True)
class ConstraintCollection:
    """Texts and what is asked of them.

    Attributes:
        name: Of the set, and the part of it.
        texts: Of the rows.
        cases: Asked of these rows.
    """

    name: str
    texts: list[str]
    cases: list[ConstraintCase]


@dataclass(frozen=True)
class Obeyed:
    """What the best rows of each case are, each of shape (cases,).

    Attributes:
        satisfied: Share that satisfies the constraint.
        on_topic: Share on the topic.
        both: Share that does both.
    """

    satisfied: FloatArray
    on_topic: FloatArray
    both: FloatArray


def load_cases(data: Path, seed: int) -> list[ConstraintCollection]:
    """The whole suite, the same for the same seed.

    Args:
        data: Folder that holds `dev/`.
        seed: Seed of the draw of rows and cases.
    """
    return [
        *(_packages(data, part, seed) for part in DEBIAN),
        *(_commands(data, name, seed) for name in COMMANDS),
    ]


def obeyed(scores: FloatArray, cases: Sequence[ConstraintCase], k: int = K) -> Obeyed:
    """Judge a ranking.

    Args:
        scores: Higher is better, shape (cases, n).
        cases: In the order of the scores.
        k: Rows looked at.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    pairs = list(zip(cases, best, strict=True))
    satisfied = np.stack([case.satisfied[rows] for case, rows in pairs])
    on_topic = np.stack([case.on_topic[rows] for case, rows in pairs])

    def share(hits: BoolArray) -> FloatArray:
        return np.asarray(hits.mean(axis=1), dtype=np.float32)

    return Obeyed(share(satisfied), share(on_topic), share(satisfied & on_topic))


def telling(satisfied: BoolArray, on_topic: BoolArray) -> bool:
    """Whether a case can tell a ranking that obeys from one that does not."""
    good = int((satisfied & on_topic).sum())
    return MIN_ROWS <= good <= MOST_SHARE * int(on_topic.sum())


def _packages(data: Path, part: str, seed: int) -> ConstraintCollection:
    """Packages of Debian that carry the facet the constraints ask for, and are about a topic."""
    words = DEBIAN[part]
    rng = np.random.default_rng(seed)
    rows = [
        (text, facets)
        for text, facets in _tagged(data)
        if words.facet in facets and any(_has(facets, t.facets) for t in words.topics)
    ]
    rows = [rows[i] for i in sorted(rng.permutation(len(rows))[:MOST_ROWS])]
    name = f"debian_packages/{part}"
    cases: list[ConstraintCase] = []
    for topic in words.topics:
        on_topic = _flags(_has(facets, topic.facets) for _, facets in rows)
        for constraint in words.constraints:
            if _overlap(topic.facets, constraint.facets):
                continue
            holds = _flags(_has(facets, constraint.facets) for _, facets in rows)
            for kind, wordings in constraint.wordings.items():
                satisfied = ~holds if kind == "no" else holds
                if telling(satisfied, on_topic):
                    query, said = _one(topic.phrases, rng), _one(wordings, rng)
                    cases.append(ConstraintCase(name, query, said, kind, satisfied, on_topic))
    return ConstraintCollection(name, [text for text, _ in rows], _drawn(cases, rng))


def _commands(data: Path, name: str, seed: int) -> ConstraintCollection:
    """Commands to an assistant; another command of the domain is the query."""
    domain = COMMANDS[name]
    rng = np.random.default_rng(seed)
    found = {
        text: (labels[domain], labels["intent"])
        for text, labels in labelled(data, name)
        if domain in labels and "intent" in labels
    }
    rows = list(found.items())
    rows = [rows[i] for i in rng.permutation(len(rows))]
    stored, asked = rows[:MOST_ROWS], rows[MOST_ROWS:]
    domains, intents = (np.array([row[1][side] for row in stored]) for side in (0, 1))
    cases: list[ConstraintCase] = []
    for (area, intent), constraint in _worded(name, stored):
        on_topic = domains == area
        for kind in KINDS:
            no = kind == "no"
            satisfied = intents != intent if no else intents == intent
            wanted = [text for text, own in asked if own[0] == area and (own[1] == intent) == no]
            if not telling(satisfied, on_topic) or not wanted:
                continue
            query, said = _one(wanted, rng), _one(constraint.wordings[kind], rng)
            cases.append(ConstraintCase(name, query, said, kind, satisfied, on_topic))
    return ConstraintCollection(name, [text for text, _ in stored], _drawn(cases, rng))


def _worded(
    name: str, rows: Sequence[tuple[str, tuple[str, str]]]
) -> Iterator[tuple[tuple[str, str], Constraint]]:
    """Domains and intents of enough rows, by name, with their words."""
    counts = Counter(own for _, own in rows)
    for own in sorted(own for own, count in counts.items() if count >= MIN_ROWS):
        if own[1] in INTENTS[name]:
            yield own, INTENTS[name][own[1]]


def _drawn(cases: list[ConstraintCase], rng: np.random.Generator) -> list[ConstraintCase]:
    """At most so many cases, the kinds in equal numbers as far as there are some."""
    mixed = [cases[i] for i in rng.permutation(len(cases))]
    turns = zip_longest(*([case for case in mixed if case.kind == kind] for kind in KINDS))
    return [case for turn in turns for case in turn if case][:MOST_CASES]


def _one(of: Sequence[str], rng: np.random.Generator) -> str:
    return of[int(rng.integers(len(of)))]


def _tagged(data: Path) -> Iterator[tuple[str, Facets]]:
    file = data / "dev" / "debian_packages.jsonl"
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("tags"):
                yield row["text"], {**row["tags"], "section": [row["section"]]}


def _has(facets: Facets, wanted: Facets) -> bool:
    """Whether any of the wanted values is there."""
    return any(
        value in values for facet, values in wanted.items() for value in facets.get(facet, ())
    )


def _flags(found: Iterable[bool]) -> BoolArray:
    return np.fromiter(found, dtype=np.bool_)


def _overlap(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return bool(one.keys() & other.keys())


def main() -> None:
    """Print how many cases there are, and examples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for collection in load_cases(arguments.data, arguments.seed):
        kinds = dict(Counter(case.kind for case in collection.cases))
        print(f"{collection.name}: {len(collection.texts)} rows, {len(collection.cases)} {kinds}")
        for case in collection.cases:
            on_topic = int(case.on_topic.sum())
            good = int((case.satisfied & case.on_topic).sum())
            print(f"  {case.kind:6} {good:4}/{on_topic:4}  {case.query} | {case.instruction}")


if __name__ == "__main__":
    main()
