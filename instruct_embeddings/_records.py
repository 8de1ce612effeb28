"""Rows of JSONL, CSV and text files, read one at a time and named by file and line."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from json import JSONDecodeError
from pathlib import Path
from typing import IO, Any, AnyStr, TypeAlias

from instruct_embeddings._reading import LONGEST_LINE, parse_json
from instruct_embeddings.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t", "|")
# What spreadsheets write and read as a first line.
_SEPARATOR_LINE = re.compile("sep=(.)", re.IGNORECASE)
_KEYS_SHOWN = 10

Parse: TypeAlias = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A row of a file, not parsed yet, so that one bad row does not spoil the others."""

    file: Path
    line: int  # on which the row starts, from 1
    # Its values by key or column, or a `ValueError` that says what is wrong. No value holds half of
    # a surrogate pair, which nobody could store or tokenize.
    parse: Parse

    def __str__(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.line}"


def read_rows(file: Path, text_key: str = "text") -> Iterator[Row]:
    """The rows of a JSONL, CSV or text file, by its ending.

    .jsonl and .ndjson hold an object a line; .csv and .tsv a header and rows, whose empty cells are
    left out; a paragraph of .txt and .md is a row. `text_key` is the column that decides between
    delimiters of CSV, and the key of a paragraph.

    Raises:
        DataError: The file cannot be read, has another ending, or a row is longer than 8 MiB.
    """
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        raise DataError(
            f"{file} has the unknown ending {file.suffix!r}; known are {', '.join(_KINDS)}. "
            "Convert or rename the file."
        )
    for line, parse in kind(file, text_key):
        yield Row(file, line, parse)


def read_records(
    file: Path, required: Sequence[str] = (), *, text_key: str = "text", form: str = ""
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """The rows of a file with their values; the first bad one is an error.

    Each row must have the `required` keys; `form` says in errors what a row looks like.

    Raises:
        DataError: The file or a row of it cannot be read; the message names the line.
    """
    for row in read_rows(file, text_key):
        with row_errors(row, form):
            values = row.parse()
            if missing := [key for key in required if key not in values]:
                raise ValueError(
                    f"no {', '.join(map(repr, missing))} (keys: {shown_keys(values)}), each row "
                    f"needs the keys {list(required)}"
                )
        yield row, values


@contextmanager
def row_errors(row: Row, form: str = "") -> Iterator[None]:
    """Turn a `ValueError` about a row into a `DataError` that names its file and line."""
    try:
        yield
    except ValueError as exc:
        raise DataError(f"{row}: {exc}. {form}{'. ' if form else ''}Correct the line.") from exc


def shown_keys(values: Iterable[str]) -> list[str]:
    """Some keys of a row, as messages name them."""
    return [key[:40] for key in sorted(values)[:_KEYS_SHOWN]]


def json_lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Line number (from 1), byte offset and bytes of each line that is not blank.

    Raises:
        DataError: The file cannot be read, or a line is longer than 8 MiB.
    """
    offset = 0
    # Bytes end at \n alone: other line breaks may stand inside a JSON string.
    with _opened(file, "rb") as stream:
        for number, line in enumerate(_lines(file, stream), 1):
            if line.strip():
                yield number, offset, line
            offset += len(line)


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; a `ValueError` that says what is wrong if it holds none."""
    try:
        found = parse_json(
            line.removeprefix(_BYTE_ORDER_MARK).decode(), parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as exc:
        raise ValueError(f"not UTF-8 text (byte {exc.start})") from exc
    except UnicodeEncodeError as exc:
        raise ValueError("not UTF-8 text: half of a surrogate pair") from exc
    except JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg} at column {exc.colno}") from exc
    except ValueError as exc:
        raise ValueError(f"not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, got {type(found).__name__}")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


@contextmanager
def _opened(file: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:
    try:
        with file.open(mode, **options) as stream:
            yield stream
    except OSError as exc:
        raise DataError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc


def _lines(file: Path, stream: IO[AnyStr]) -> Iterator[AnyStr]:
    number = 1
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise _too_long(file, f"line {number:,} is longer than {LONGEST_LINE:,} characters")
        yield line
        number += 1


def _too_long(file: Path, why: str) -> DataError:
    return DataError(
        f"{file}: {why}. A row or a paragraph has at most {LONGEST_LINE:,} characters. Split it."
    )


def _text_lines(file: Path) -> Iterator[str]:
    # Bytes that are not UTF-8 become lone surrogates, which spoil one row only.
    options = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    with _opened(file, "r", **options) as stream:
        yield from _lines(file, stream)


def _json_rows(file: Path, text_key: str) -> Iterator[tuple[int, Parse]]:
    del text_key
    for number, _, line in json_lines(file):
        yield number, partial(parse_object, line)


def _csv_rows(file: Path, text_key: str) -> Iterator[tuple[int, Parse]]:
    lines = _text_lines(file)
    first = next(lines, "")
    named = _SEPARATOR_LINE.fullmatch(first.strip("\r\n"))
    if named:
        delimiter, before = named[1], 1
    else:
        usual = "\t" if file.suffix.lower() == ".tsv" else ","
        delimiter, before = _delimiter(first, text_key, usual), 0
        lines = chain([first], lines)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        header = next(reader, [])
        for cells in reader:
            if cells:
                yield before + reader.line_num, partial(_csv_row, header, cells)
    except csv.Error as exc:
        line = before + reader.line_num
        raise DataError(f"{file}:{line}: {exc}. Correct the file.") from exc


def _delimiter(header: str, text_key: str, usual: str) -> str:
    """The delimiter of a CSV: spreadsheets of many countries write semicolons.

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


def _csv_row(header: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells, but the header names {len(header)}")
    return _checked({key: cell for key, cell in zip(header, cells, strict=True) if cell})


def _paragraphs(file: Path, text_key: str) -> Iterator[tuple[int, Parse]]:
    paragraph: list[str] = []
    start, length = 1, 0
    for number, line in enumerate(chain(_text_lines(file), [""]), 1):
        if line.strip():
            start, length = (start, length + len(line)) if paragraph else (number, len(line))
            if length > LONGEST_LINE:
                raise _too_long(file, f"the paragraph at line {start:,} is too long")
            paragraph.append(line.strip())
        elif paragraph:
            row = {"source": file.name, "line": start, text_key: " ".join(paragraph)}
            yield start, partial(_checked, row)
            paragraph = []


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    try:
        for key, value in row.items():
            f"{key}{value}".encode()
    except UnicodeEncodeError as exc:
        raise ValueError("not UTF-8 text") from exc
    return row


_KINDS: dict[str, Callable[[Path, str], Iterator[tuple[int, Parse]]]] = {
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".txt": _paragraphs,
    ".md": _paragraphs,
}
