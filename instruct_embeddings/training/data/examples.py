"""Rows of JSONL files, and the examples that are made of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from instruct_embeddings._records import json_lines, parse_object, shown_keys
from instruct_embeddings.errors import DataError

_MESSAGES_KEPT = 10


@dataclass(frozen=True)
class Example:
    """What a training run learns from: a text, an instruction, the answer to give."""

    text: str
    instruction: str  # what is asked about it
    answer: str
    negatives: tuple[str, ...] = ()  # wrong answers given with the row
    # Where it was drawn from, such as "clinc150/intent"; answers can be compared within a group
    # only.
    group: str = ""


def answer_key(answer: str) -> str:
    """The form in which answers are the same: case, spacing and end marks do not count."""
    text = " ".join(answer.casefold().split())
    return text.rstrip(" .?!") or text


class Row(NamedTuple):
    """A line of a file: either an instruction of its own with the answer, or labels by aspect.

    Labels of aspects that have several values on this row are left out.
    """

    text: str
    instruction: str | None = None
    answer: str = ""
    negatives: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def parse_row(line: bytes, *, max_characters: int) -> Row:
    """Read a line, one JSON object in UTF-8; a ValueError says why it is no row."""
    data = parse_object(line)
    text = _text(data, "text")[:max_characters]
    if not text.strip():
        raise ValueError(f"'text' is blank in its first {max_characters:,} characters")
    if "instruction" not in data:
        return Row(text, labels=_labels(data))
    answer, wrong = _text(data, "answer"), data.get("negatives", [])
    if not isinstance(wrong, list):
        raise ValueError(f"'negatives' must be a list of texts, found {type(wrong).__name__}")
    for value in wrong:
        if answer_key(_filled("an entry of 'negatives'", value)) == answer_key(answer):
            raise ValueError(f"'negatives' holds the answer {answer!r:.60}")
    negatives = tuple(value.strip() for value in wrong)
    return Row(text, _text(data, "instruction").strip(), answer.strip(), negatives)


def _text(data: dict[str, Any], name: str) -> str:
    if name not in data:
        raise ValueError(f"{name!r} is missing; keys: {shown_keys(data)}")
    return _filled(repr(name), data[name])


def _filled(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not blank, found {value!r:.60}")
    return value


def _labels(data: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    labels, several = data.get("labels"), data.get("multi", [])
    if not isinstance(labels, dict) or not labels:
        raise ValueError(
            f"neither 'instruction' and 'answer' nor 'labels' by aspect; keys: {shown_keys(data)}"
        )
    if not isinstance(several, list):
        raise ValueError(f"'multi' must be a list of aspects, found {type(several).__name__}")
    kept = tuple((aspect, label) for aspect, label in labels.items() if aspect not in several)
    for aspect, label in kept:
        if "|" in _filled(f"the label of {aspect!r:.60}", label):
            raise ValueError(
                f"the label {label!r:.60} of {aspect!r:.60} has several values, but 'multi' does "
                "not name the aspect"
            )
    return kept


@dataclass(frozen=True)
class ReadingReport:
    """What came of reading the files."""

    read: int
    skipped: int  # bad lines left out
    problems: tuple[str, ...] = ()  # what was wrong with the first of them, by file and line


@dataclass
class ReadingLog:
    """Counts rows and bad lines while files are read; `strict` stops at the first bad line."""

    strict: bool = False
    read: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)

    def skip(self, problem: str) -> None:
        """Note a bad line; DataError where reading is strict."""
        if self.strict:
            raise DataError(f"{problem}. Correct the line, or skip it with strict = false.")
        self.skipped += 1
        if len(self.problems) < _MESSAGES_KEPT:
            self.problems.append(problem)

    def report(self) -> ReadingReport:
        """The counts so far."""
        return ReadingReport(self.read, self.skipped, tuple(self.problems))


class SourceFile:
    """A file of rows that is read line by line, then back by byte offsets; it must not change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as exc:
            raise DataError(
                f"The data file {path} cannot be read: {exc.strerror or exc}. "
                "Give the path of a JSONL file that exists."
            ) from exc
        self._stamp = self._state()

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Line number (from 1), byte offset and bytes of each line that is not blank."""
        yield from json_lines(self.path)
        self.check()

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a line."""
        if self._file.closed:
            raise DataError(
                "The training data was closed, and a batch was asked for. Draw batches inside "
                "`with open_data(...) as data:`."
            )
        self._file.seek(offset)
        line = self._file.read(length)
        if len(line) != length:
            raise self._changed()
        return line

    def check(self) -> None:
        """Raise DataError unless size and time of writing are those of the indexed file."""
        try:
            same = self._state() == self._stamp
        except FileNotFoundError:
            same = False
        if not same:
            raise self._changed()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _state(self) -> tuple[int, int]:
        state = os.stat(self.path)
        return state.st_size, state.st_mtime_ns

    def _changed(self) -> DataError:
        return DataError(
            f"The data file {self.path} changed while training, or is gone. Rows are read back "
            "by their offsets in it, so it must stay as it is. Start again, or bring the old file "
            "back and resume."
        )
