"""The texts of the demo, what is asked of them and in which respects."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from instruct_embeddings.cli.demo.questions import (
    INSTRUCTIONS,
    TICKET_QUESTIONS,
    Aspect,
    Question,
    instruction_for,
)
from instruct_embeddings.cli.records import SEPARATOR, Reader, Record
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import DataError

_ASPECTS = 3
_MOST_LABELS = 50
_QUESTION_CHARACTERS = 300
_FEWEST_QUESTIONS, _MOST_QUESTIONS = 3, 20
_COMMON = 10


@dataclass(frozen=True)
class Corpus:
    """What the demo runs on.

    Attributes:
        name: Name of the collection; it changes with the content.
        source: Where the texts come from.
        records: Rows to store.
        aspects: Respects in which they are compared.
        questions: Queries; not among the rows.
        written: Whether the questions were written, or are rows held out.
    """

    name: str
    source: Path
    records: Sequence[Record]
    aspects: Sequence[Aspect]
    questions: Sequence[Question]
    written: bool


def sample_corpus() -> Path:
    """The sample corpus: in the installed package, or in a checkout of the source.

    Raises:
        DataError: It is in neither place.
    """
    packaged = Path(__file__).parents[1] / "data" / "tickets.jsonl"
    checkout = Path(__file__).parents[3] / "examples" / "data" / "tickets.jsonl"
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
    """Read the corpus and decide what is asked of it.

    Args:
        file: JSONL file with `text`, optionally `id`, and labels; None for the sample corpus.
        limit: Read at most so many rows.
        label_keys: Metadata keys that hold labels; empty to choose.
        instructions: What to ask instead, where no labels are needed.

    Raises:
        DataError: A line cannot be read, or there are no labels, and no instructions either.
    """
    source = sample_corpus() if file is None else file
    records = list(islice(Reader().read([source]), limit))
    if instructions:
        aspects = [Aspect(None, check_instruction(text)) for text in instructions]
    else:
        aspects = [_aspect(key, records) for key in label_keys or _default_keys(records, source)]
    questions: Sequence[Question] = TICKET_QUESTIONS
    if file is not None:
        asked = _held_out(records, aspects)
        held = {record.id for record in asked}
        records = [record for record in records if record.id not in held]
        questions = [_question(record) for record in asked]
    name = _name(source, records)
    return Corpus(name, source, records, aspects, questions, written=file is None)


def _default_keys(records: Sequence[Record], source: Path) -> list[str]:
    keys = list(dict.fromkeys(key for record in records for key in record.metadata))
    chosen = [key for key in [*INSTRUCTIONS, *keys] if _is_label(key, records)]
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
    several = any(SEPARATOR in value for value in values)
    return Aspect(key, instruction_for(key), SEPARATOR if several else None)


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


def _question(record: Record) -> Question:
    text = textwrap.shorten(record.text, _QUESTION_CHARACTERS, placeholder="")
    return Question(text, record.metadata)


def _name(source: Path, records: Sequence[Record]) -> str:
    digest = sha256()
    for record in records:
        digest.update(repr((record.id, record.text, record.metadata)).encode())
    stem = re.sub(r"[^A-Za-z0-9]+", "-", source.stem).strip("-") or "corpus"
    return f"demo-{stem[:40]}-{digest.hexdigest()[:8]}"
