"""JSONL files of examples, read line by line and back by their byte offsets."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

from instruct_embeddings._reading import LONGEST_LINE, limited_lines, parse_json
from instruct_embeddings.errors import DataError
from instruct_embeddings.training.data.examples import answer_key

_MESSAGES_KEPT = 10
_KEYS_SHOWN = 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A line of a file: either an instruction of its own with the answer, or labels by aspect.

    Labels of aspects that have several values on this row are left out.
    """

    text: str
    instruction: str | None = None
    answer: str = ""
    negatives: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ReadingReport:
    """What came of reading the files.

    Attributes:
        read: Rows read.
        skipped: Bad lines left out.
        problems: What was wrong with the first of them, by file and line.
    """

    read: int
    skipped: int
    problems: tuple[str, ...] = ()


@dataclass
class ReadingLog:
    """Counts rows and bad lines while files are read.

    Attributes:
        strict: Stop at the first bad line.
        read: Rows read.
        skipped: Bad lines.
        problems: The first of them.
    """

    strict: bool = False
    read: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)

    def skip(self, problem: str) -> None:
        """Note a bad line.

        Raises:
            DataError: Reading is strict.
        """
        if self.strict:
            raise DataError(f"{problem}. Mend the line, or read with strict = false to skip it.")
        self.skipped += 1
        if len(self.problems) < _MESSAGES_KEPT:
            self.problems.append(problem)

    def report(self) -> ReadingReport:
        """The counts so far."""
        return ReadingReport(self.read, self.skipped, tuple(self.problems))


def parse_row(line: bytes, *, max_characters: int) -> Row:
    """Read a line.

    Args:
        line: One JSON object in UTF-8.
        max_characters: Longer texts are cut there.

    Raises:
        ValueError: The line is not a row; the message says why.
    """
    data = _parse(line.removeprefix(_BYTE_ORDER_MARK))
    if not isinstance(data, dict):
        raise ValueError(f"a row is a JSON object, not {type(data).__name__}")
    # A decoded line holds no half of a surrogate pair but one that was escaped.
    strings = _escaped if b"\\u" in line else _plain
    text = strings(data, "text")[:max_characters]
    if not text.strip():
        raise ValueError(f"'text' is blank in its first {max_characters:,} characters")
    if "instruction" in data:
        answer = strings(data, "answer")
        return Row(
            text,
            strings(data, "instruction").strip(),
            answer.strip(),
            _negatives(data.get("negatives", []), answer),
        )
    return Row(text, labels=_labels(data, escaped=b"\\u" in line))


def _parse(line: bytes) -> object:
    try:
        return parse_json(line.decode(), halves=True)
    except UnicodeDecodeError as exc:
        raise ValueError(f"not UTF-8 (byte {exc.start})") from exc
    except JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg} (character {exc.pos})") from exc


def _plain(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value.strip():
        found = repr(value)[:60] if name in data else f"no such key among {_keys(data)}"
        raise ValueError(f"{name!r} must be a text that is not blank, found {found}")
    return value


def _keys(data: dict[str, Any]) -> str:
    return repr([key[:40] for key in sorted(data)[:_KEYS_SHOWN]])


def _escaped(data: dict[str, Any], name: str) -> str:
    value = _plain(data, name)
    _check_pairs(name, value)
    return value


def _check_pairs(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"{name!r} holds half of a surrogate pair (character {exc.start}), which no tokenizer "
            "reads"
        ) from exc


def _negatives(values: object, answer: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"'negatives' must be a list of texts, found {type(values).__name__}")
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(
                f"'negatives' must hold texts that are not blank, found {repr(value)[:60]}"
            )
        _check_pairs("negatives", value)
        if answer_key(value) == answer_key(answer):
            raise ValueError(f"'negatives' holds the answer {repr(answer)[:60]}")
    return tuple(value.strip() for value in values)


def _labels(data: dict[str, Any], *, escaped: bool) -> tuple[tuple[str, str], ...]:
    labels = data.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise ValueError(
            f"neither 'instruction' and 'answer' nor 'labels' by aspect; keys: {_keys(data)}"
        )
    several = data.get("multi", [])
    if not isinstance(several, list):
        raise ValueError(f"'multi' must be a list of aspects, found {type(several).__name__}")
    kept = []
    for aspect, label in labels.items():
        if aspect in several:
            continue
        if not isinstance(label, str) or not label.strip():
            raise ValueError(
                f"the label of {aspect!r:.60} must be a text that is not blank, found "
                f"{repr(label)[:60]}"
            )
        if "|" in label:
            raise ValueError(
                f"the label {repr(label)[:60]} of {aspect!r:.60} has several values, but 'multi' "
                "does not name the aspect"
            )
        if escaped:
            _check_pairs("labels", aspect)
            _check_pairs(aspect, label)
        kept.append((aspect, label))
    return tuple(kept)


class SourceFile:
    """A file of rows, kept open; it must stay as it is.

    Args:
        path: The file.

    Raises:
        DataError: It cannot be opened.
    """

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
        """Line number (from 1), byte offset and bytes of each line that is not blank.

        Raises:
            DataError: A line is longer than 8 MiB, or the file changed meanwhile.
        """
        offset = 0
        # Bytes end at \n alone: other line breaks may stand inside a JSON string.
        with self.path.open("rb") as file:
            try:
                for number, line in enumerate(limited_lines(file.readline), start=1):
                    if line.strip():
                        yield number, offset, line
                    offset += len(line)
            except ValueError as exc:
                raise DataError(
                    f"The data file {self.path} cannot be read: {exc}. A row is one line of at "
                    f"most {LONGEST_LINE:,} bytes. Split or shorten it."
                ) from exc
        self.check()

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a line.

        Raises:
            DataError: The file ends before them.
        """
        self._file.seek(offset)
        line = self._file.read(length)
        if len(line) != length:
            raise self._changed()
        return line

    def check(self) -> None:
        """Make sure that the file is the one that was indexed.

        Raises:
            DataError: Size or time of writing differ.
        """
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
            "by their places in it, so it must stay as it is. Start again, or bring the old file "
            "back and resume."
        )
