"""The texts of the demo, what is asked of them and in which respects, and how that is judged."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from instruct_embeddings.cli import models
from instruct_embeddings.cli.records import SEPARATOR, Reader, Record
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import ConfigError, DataError

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.protocols import Guide

_ASPECTS = 3
_MOST_LABELS = 50
_QUESTION_CHARACTERS = 300
_FEWEST_QUESTIONS, _MOST_QUESTIONS = 3, 20
_COMMON = 10
_INSTRUCTIONS = {
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
    "urgency": "How soon is an answer needed?",
}


class GuideName(str, Enum):
    """What teaches the demo's instructions."""

    ENCODER = "encoder"
    LABELS = "labels"


@dataclass(frozen=True)
class Aspect:
    """One respect in which texts are compared."""

    key: str | None  # of the metadata that hold its labels; None where there are none
    instruction: str
    separator: str | None = None  # of several labels of one row

    def labels(self, metadata: Mapping[str, object]) -> frozenset[str]:
        """The labels of a row."""
        value = None if self.key is None else metadata.get(self.key)
        if value is None:
            return frozenset()
        return frozenset(part.strip() for part in str(value).split(self.separator or "\0"))


@dataclass(frozen=True)
class Constrained:
    """A question whose instruction states a constraint, and how a hit is judged."""

    text: str
    topic: tuple[str, str]  # key and label of what it is about
    instruction: str
    named: tuple[str, str]  # key and label of what the constraint names
    unwanted: bool = False  # whether that is excluded

    def on_topic(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is about what was asked."""
        return metadata.get(self.topic[0]) == self.topic[1]

    def satisfied(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row obeys the constraint."""
        return (metadata.get(self.named[0]) == self.named[1]) != self.unwanted


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


def _ticket(text: str, area: str, problem: str, tone: str, urgency: str) -> Record:
    labels = {"area": area, "problem": problem, "tone": tone, "urgency": urgency}
    return Record("", text, labels)


TICKET_QUESTIONS = (
    _ticket(
        "Thanks for the lovely product! Would you consider invoices in euros one day?",
        "billing",
        "feature request",
        "friendly",
        "can wait",
    ),
    _ticket(
        "After last night's sync half of our folder has vanished. Could we have lost it for good? "
        "The audit starts in an hour.",
        "file sync",
        "lost data",
        "worried",
        "right now",
    ),
    _ticket(
        "The app on my phone takes ages to open a board, and I have had enough of it!",
        "mobile app",
        "slow performance",
        "angry",
        "can wait",
    ),
)

_SLOW = ("problem", "slow performance")
_REPORTS = ("area", "reports")
_HOW_TO = ("problem", "how-to question")
# Written with the answers known; the last one is there because it is not obeyed.
TICKET_CONSTRAINTS = (
    Constrained("it is slow", _SLOW, "Only reports.", _REPORTS),
    Constrained("it is slow", _SLOW, "Exclude anything about reports.", _REPORTS, unwanted=True),
    Constrained(
        "the app on my phone", ("area", "mobile app"), "Only angry customers.", ("tone", "angry")
    ),
    Constrained("invoices", ("area", "billing"), "Only how-to questions.", _HOW_TO),
)


def sample_corpus() -> Path:
    """The sample corpus: in the installed package, or in a checkout of the source."""
    packaged = Path(__file__).parent / "data" / "tickets.jsonl"
    checkout = Path(__file__).parents[2] / "examples" / "data" / "tickets.jsonl"
    for file in (packaged, checkout):
        if file.is_file():
            return file
    raise DataError(
        f"The sample corpus is neither at {packaged} nor at {checkout}. Install the package again, "
        "or name texts of your own with --corpus FILE.jsonl."
    )


def read_corpus(
    file: Path | None,
    limit: int | None,
    label_keys: Sequence[str],
    instructions: Sequence[str] = (),
) -> Corpus:
    """Read the corpus (the sample unless a file is named) and decide what is asked of it.

    Without `label_keys` they are chosen; with `instructions` no labels are needed.
    """
    source = sample_corpus() if file is None else file
    records = list(islice(Reader().read([source]), limit))
    if instructions:
        aspects = [Aspect(None, check_instruction(text)) for text in instructions]
    else:
        aspects = [_aspect(key, records) for key in label_keys or _default_keys(records, source)]
    if file is None:
        name = _name(source, records)
        return Corpus(name, source, records, aspects, TICKET_QUESTIONS, TICKET_CONSTRAINTS)
    held_out = _held_out(records, aspects)
    names = {record.id for record in held_out}
    records = [record for record in records if record.id not in names]
    questions = [replace(one, text=_shortened(one.text)) for one in held_out]
    return Corpus(_name(source, records), source, records, aspects, questions)


def guide_of(name: GuideName, aspects: Sequence[Aspect]) -> "Guide":
    """What teaches some aspects; an error where labels shall, and one has none."""
    from instruct_embeddings.guides import EncoderGuide, GuideByInstruction, MetadataGuide

    if name is GuideName.ENCODER:
        return EncoderGuide(models.load_instructed())
    guides = {}
    for aspect in aspects:
        if aspect.key is None:
            raise ConfigError(
                "--guide labels needs labels, and an --instruction names none. Leave out "
                "--instruction, or take --guide encoder."
            )
        guides[aspect.instruction] = MetadataGuide(aspect.key, separator=aspect.separator)
    return GuideByInstruction(guides)


def label_precision(
    labels: Sequence[frozenset[str]],
    asked: Sequence[int],
    scores: "Mapping[str, FloatArray]",
    k: int,
) -> dict[str, float] | None:
    """Precision at k: the share of the closest other rows that have a label of the row asked.

    Scores of the rows that are asked and all rows, shape (a, n), by what ranks. None where none of
    those asked shares a label with another row.
    """
    import numpy as np

    from instruct_embeddings.transform.quality import precision_at_k

    names = {name: column for column, name in enumerate(sorted(frozenset().union(*labels)))}
    carried = np.zeros((len(labels), len(names)), dtype=np.float32)
    for row, own in enumerate(labels):
        carried[row, [names[name] for name in own]] = 1
    rows = np.arange(len(asked))
    relevant = carried[list(asked)] @ carried.T > 0
    relevant[rows, asked] = False
    if not relevant.any():
        return None
    found = {}
    for side, similar in scores.items():
        others = similar.copy()
        others[rows, asked] = -np.inf
        found[side] = float(precision_at_k(others, relevant, k).mean())
    return found


def _default_keys(records: Sequence[Record], source: Path) -> list[str]:
    keys = list(dict.fromkeys(key for record in records for key in record.metadata))
    chosen = [key for key in [*_INSTRUCTIONS, *keys] if _is_label(key, records)]
    if not chosen:
        raise DataError(
            f"No key of {source} has 2 to {_MOST_LABELS} different values in half of its rows, so "
            f"there are no labels to judge by. Name one with --label-key (there are: {keys}), or "
            "say what to ask with --instruction; labels are not needed then."
        )
    return list(dict.fromkeys(chosen))[:_ASPECTS]


def _is_label(key: str, records: Sequence[Record]) -> bool:
    values = [record.metadata[key] for record in records if key in record.metadata]
    return 2 * len(values) >= len(records) and 2 <= len(set(values)) <= _MOST_LABELS


def _aspect(key: str, records: Sequence[Record]) -> Aspect:
    values = [str(record.metadata[key]) for record in records if key in record.metadata]
    if not values:
        keys = sorted({key for record in records for key in record.metadata})
        raise DataError(
            f"No row has the key {key!r}; there are: {', '.join(keys)}. Name one with --label-key."
        )
    words = key.rpartition(".")[2].replace("_", " ").replace("-", " ")
    several = any(SEPARATOR in value for value in values)
    instruction = _INSTRUCTIONS.get(key, f"What is its {words}?")
    return Aspect(key, instruction, SEPARATOR if several else None)


def _held_out(records: Sequence[Record], aspects: Sequence[Aspect]) -> list[Record]:
    """Rows that are asked instead of stored: labelled in every aspect, with common labels."""
    counts = {
        aspect: Counter(label for row in records for label in aspect.labels(row.metadata))
        for aspect in aspects
    }
    known = [aspect for aspect in aspects if aspect.key is not None]
    labelled = [r for r in records if all(aspect.labels(r.metadata) for aspect in known)]
    common = [
        record
        for record in labelled
        if all(
            max(counts[aspect][label] for label in aspect.labels(record.metadata)) >= _COMMON
            for aspect in known
        )
    ]
    pool = common or labelled
    wanted = min(max(len(records) // 50, _FEWEST_QUESTIONS), _MOST_QUESTIONS)
    return Random(0).sample(pool, min(wanted, len(pool)))


def _shortened(text: str) -> str:
    return textwrap.shorten(text, _QUESTION_CHARACTERS, placeholder="")


def _name(source: Path, records: Sequence[Record]) -> str:
    digest = sha256()
    for record in records:
        digest.update(repr((record.id, record.text, record.metadata)).encode())
    stem = re.sub(r"[^A-Za-z0-9]+", "-", source.stem).strip("-") or "corpus"
    return f"demo-{stem[:40]}-{digest.hexdigest()[:8]}"
