"""The texts of the demo, what is asked of them and in which respects."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from instruct_embeddings.cli.records import SEPARATOR, Reader, Record, Scalar
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import DataError

_ASPECTS, _QUESTIONS = 3, 3
_MOST_LABELS = 50
_INSTRUCTIONS = {
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
    "urgency": "How soon is an answer needed?",
}


@dataclass(frozen=True)
class Aspect:
    """One respect in which texts are compared."""

    key: str | None  # of the metadata that hold its labels; None where there are none
    instruction: str

    def labels(self, metadata: Mapping[str, object]) -> frozenset[str]:
        """The labels of a row."""
        value = None if self.key is None else metadata.get(self.key)
        parts = [] if value is None else str(value).split(SEPARATOR)
        return frozenset(part.strip() for part in parts)


@dataclass(frozen=True)
class Constrained:
    """A question whose instruction says which hits are wanted, and how they are counted."""

    text: str
    topic: tuple[str, str]  # key and label of what it is about
    instruction: str
    named: tuple[str, str]  # key and label of what the instruction names
    unwanted: bool = False  # whether that is excluded

    def on_topic(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is about what was asked."""
        return metadata.get(self.topic[0]) == self.topic[1]

    def satisfied(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is as the instruction says."""
        return (metadata.get(self.named[0]) == self.named[1]) != self.unwanted

    def counts(self, **sides: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
        """Hits of each side that are as the instruction says, and that are on topic."""
        return {
            judge.__name__: {side: sum(judge(h["metadata"]) for h in sides[side]) for side in sides}
            for judge in (self.satisfied, self.on_topic)
        }


@dataclass(frozen=True)
class Corpus:
    """What the demo runs on."""

    name: str  # of the collection; it changes with the content
    source: Path
    records: Sequence[Record]
    aspects: Sequence[Aspect]
    questions: Sequence[Record]  # queries with their labels; not among the rows
    constraints: Sequence[Constrained] = ()

    def pairs(self) -> Iterator[tuple[Record, Aspect]]:
        """Each question with an aspect to ask for, which take turns."""
        return zip(self.questions, cycle(self.aspects), strict=False)


_SLOW = ("problem", "slow performance")
_REPORTS = ("area", "reports")
_HOW_TO = ("problem", "how-to question")
_PHONE = ("area", "mobile app")
_SIGN_IN = ("area", "sign-in")

TICKET_QUESTIONS = tuple(
    Record("", text, dict(zip(("area", "problem", "tone"), labels, strict=True)))
    for text, labels in (
        (
            "Thanks for the lovely product! Would you consider invoices in euros one day?",
            ("billing", "feature request", "friendly"),
        ),
        (
            "After last night's sync half of our folder has vanished. Could we have lost it for "
            "good? The audit starts in an hour.",
            ("file sync", "lost data", "worried"),
        ),
        (
            "I am fed up. The invoice is wrong for the third time, and nobody answers!",
            ("billing", "bug", "angry"),
        ),
    )
)
# Written with the answers known: a relation, three constraints that are obeyed, one that is not.
TICKET_CONSTRAINTS = (
    Constrained("I cannot sign in.", _SIGN_IN, "Find a question on how to do it.", _HOW_TO),
    Constrained("it is slow", _SLOW, "Only reports.", _REPORTS),
    Constrained("it is slow", _SLOW, "Exclude anything about reports.", _REPORTS, unwanted=True),
    Constrained("the app on my phone", _PHONE, "Only angry customers.", ("tone", "angry")),
    Constrained("invoices", ("area", "billing"), "Only how-to questions.", _HOW_TO),
)


def sample_corpus() -> Path:
    """The sample corpus: in the installed package, or in a checkout of the source."""
    packaged = Path(__file__).parent / "data" / "tickets.jsonl"
    checkout = Path(__file__).parents[2] / "examples" / "data" / "tickets.jsonl"
    return packaged if packaged.is_file() else checkout


def read_corpus(
    file: Path | None,
    limit: int | None,
    label_keys: Sequence[str],
    instructions: Sequence[str] = (),
) -> Corpus:
    """Read the corpus (the sample unless a file is named) and decide what is asked of it.

    Without `label_keys` they are chosen; with `instructions` no labels are needed.
    """
    source = file or sample_corpus()
    records = list(islice(Reader().read([source]), limit))
    if instructions:
        aspects = [Aspect(None, check_instruction(text)) for text in instructions]
    else:
        aspects = [_aspect(key) for key in _checked_keys(label_keys, records, source)]
    if file is None:
        name = _name(source, records)
        return Corpus(name, source, records, aspects, TICKET_QUESTIONS, TICKET_CONSTRAINTS)
    labelled = [
        record
        for record in records
        if all(one.key is None or one.labels(record.metadata) for one in aspects)
    ]
    # Some rows are asked instead of stored.
    questions = Random(0).sample(labelled, min(_QUESTIONS, len(labelled)))
    names = {question.id for question in questions}
    records = [record for record in records if record.id not in names]
    return Corpus(_name(source, records), source, records, aspects, questions)


def _checked_keys(wanted: Sequence[str], records: Sequence[Record], source: Path) -> list[str]:
    """The keys of labels that are wanted, or those that look like some."""
    columns: dict[str, list[Scalar]] = {}
    for record in records:
        for key, value in record.metadata.items():
            columns.setdefault(key, []).append(value)
    found = list(wanted) or [
        key
        for key in dict.fromkeys([*_INSTRUCTIONS, *columns])
        if 2 * len(values := columns.get(key, [])) >= len(records)
        and 2 <= len(set(values)) <= _MOST_LABELS
    ]
    if not found or not columns.keys() >= set(found):
        raise DataError(
            f"{source} has no labels under {found or 'any key'}; its keys are {sorted(columns)}. "
            f"Name one with --label-key (without it, one with 2 to {_MOST_LABELS} different values "
            "in half of the rows is taken), or say what to ask with --instruction, without labels."
        )
    return found if wanted else found[:_ASPECTS]


def _aspect(key: str) -> Aspect:
    words = key.rpartition(".")[2].replace("_", " ").replace("-", " ")
    return Aspect(key, _INSTRUCTIONS.get(key, f"What is its {words}?"))


def _name(source: Path, records: Sequence[Record]) -> str:
    digest = sha256()
    for record in records:
        digest.update(repr((record.id, record.text, record.metadata)).encode())
    stem = re.sub(r"[^A-Za-z0-9]+", "-", source.stem).strip("-") or "corpus"
    return f"demo-{stem[:40]}-{digest.hexdigest()[:8]}"
