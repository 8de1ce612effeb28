"""JSONL, CSV and text files, split into rows that are decoded one by one."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TypeAlias

from instruct_embeddings._reading import LONGEST_LINE, limited_lines, parse_json
from instruct_embeddings.errors import DataError

_DELIMITERS = (",", ";", "\t", "|")
# What spreadsheets write and read as a first line.
_SEPARATOR_LINE = re.compile("sep=(.)", re.IGNORECASE)

Decode: TypeAlias = Callable[[], dict[str, object]]
Rows: TypeAlias = Iterator[tuple[int, Decode]]


def split(file: Path, text_key: str) -> Rows:
    """The rows of a file, not decoded yet, so that one bad row does not spoil the others.

    Args:
        file: A file with one of the known endings.
        text_key: Key under which a paragraph of a text file is returned.

    Yields:
        Line number and a function that decodes the row, or raises a `ValueError`.

    Raises:
        DataError: The file cannot be read, or has an unknown ending.
    """
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        raise DataError(
            f"{file} has the unknown ending {file.suffix!r}; known are {', '.join(_KINDS)}. "
            "Convert or rename the file."
        )
    try:
        # Bytes that are not UTF-8 become lone surrogates, which the reader reports by line.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield from kind(file, text_key, _lines(file, stream))
    except OSError as exc:
        raise DataError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc


def _lines(file: Path, stream: IO[str]) -> Iterator[str]:
    try:
        yield from limited_lines(stream.readline)
    except ValueError as exc:
        raise _too_long(file, str(exc)) from exc


def _too_long(file: Path, why: str) -> DataError:
    return DataError(
        f"{file}: {why}. A row or a paragraph has at most {LONGEST_LINE:,} characters. Split it."
    )


def _json_lines(file: Path, text_key: str, lines: Iterable[str]) -> Rows:
    del file, text_key
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, partial(_json_object, line)


def _json_object(line: str) -> dict[str, object]:
    try:
        row = parse_json(line, halves=True, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg} at column {exc.colno}") from exc
    if not isinstance(row, dict):
        raise ValueError(f"a JSON object is expected, got {type(row).__name__}")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _csv_rows(file: Path, text_key: str, lines: Iterable[str]) -> Rows:
    rest = iter(lines)
    first = next(rest, "")
    said = _SEPARATOR_LINE.fullmatch(first.strip("\r\n"))
    if said:
        delimiter, before = said[1], 1
    else:
        rest, before = chain([first], rest), 0
        delimiter = _delimiter(first, text_key, "\t" if file.suffix.lower() == ".tsv" else ",")
    reader = csv.reader(rest, delimiter=delimiter)
    try:
        header = next(reader, [])
        for cells in reader:
            if cells:
                yield before + reader.line_num, partial(_csv_row, header, cells)
    except csv.Error as exc:
        raise DataError(f"{file}:{before + reader.line_num}: {exc}. Mend the file.") from exc


def _delimiter(header: str, text_key: str, usual: str) -> str:
    """What stands between the cells: spreadsheets of many countries write semicolons into CSV.

    The one under which the header names the text column, else the one that makes most cells; of
    equals the usual one of the ending.
    """

    def fits(delimiter: str) -> tuple[bool, int, bool]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            return False, 0, False
        return text_key in cells, len(cells), delimiter == usual

    return max(_DELIMITERS, key=fits)


def _csv_row(header: Sequence[str], cells: Sequence[str]) -> dict[str, object]:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells, but the header names {len(header)}")
    return {key: cell for key, cell in zip(header, cells, strict=True) if cell}


def _paragraphs(file: Path, text_key: str, lines: Iterable[str]) -> Rows:
    part: list[str] = []
    start, length = 1, 0
    for number, line in enumerate(chain(lines, [""]), 1):
        if line.strip():
            start, length = (start, length + len(line)) if part else (number, len(line))
            if length > LONGEST_LINE:
                raise _too_long(file, f"the paragraph at line {start:,} is too long")
            part.append(line.strip())
        elif part:
            row = {"source": file.name, "line": start, text_key: " ".join(part)}
            yield start, partial(dict[str, object], row)
            part = []


_KINDS: dict[str, Callable[[Path, str, Iterable[str]], Rows]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".txt": _paragraphs,
    ".md": _paragraphs,
}
