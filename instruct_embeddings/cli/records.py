"""Records to store: rows of files with id, text and flat metadata, beside what is stored."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from instruct_embeddings._records import Row, read_rows, shown_keys
from instruct_embeddings.errors import DataError

SEPARATOR = "|"
Scalar: TypeAlias = str | int | float | bool
# What is stored of a row: text and metadata.
Content: TypeAlias = tuple[str | None, Mapping[str, Any]]
_EXAMPLES = 3
_LARGEST = 2**63
_DIGEST = 16
_MADE = re.compile(rf"[0-9a-f]{{{_DIGEST}}}-[0-9]+")


@dataclass(frozen=True)
class Record:
    """One row to store."""

    id: str  # given in the file, or made of the content and the line
    text: str
    metadata: Mapping[str, Scalar]  # everything else of the row, flat


@dataclass
class Reader:
    """Reads files of records; keys are columns of a CSV file."""

    text_key: str = "text"
    id_key: str = "id"
    skip_bad: bool = False  # collect the lines that cannot be read, do not stop at the first
    bad: list[str] = field(default_factory=list)  # what was skipped: one message a line
    made_ids: bool = False  # whether a row had no id of its own
    _seen: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def read(self, files: Iterable[Path]) -> Iterator[Record]:
        """The records of the files, in order."""
        for file in files:
            for row in read_rows(file, self.text_key):
                try:
                    record = self._record(row)
                except ValueError as exc:
                    self._report(f"{row}: {exc}")
                else:
                    yield record

    def count(self, files: Iterable[Path]) -> int:
        """Number of rows in the files, bad ones included."""
        return sum(1 for file in files for _ in read_rows(file, self.text_key))

    def has(self, name: str) -> bool:
        """Whether a row of this id was read."""
        return name in self._seen

    def _report(self, problem: str) -> None:
        if not self.skip_bad:
            raise DataError(
                f"{problem}. Nothing of this batch was stored. Correct the line and run the same "
                "command again (rows already stored are skipped), or pass --skip-bad."
            )
        self.bad.append(problem)

    def _record(self, row: Row) -> Record:
        values = row.parse()
        text = values.pop(self.text_key, None)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"no text under the key {self.text_key!r} (the other keys: {shown_keys(values)}); "
                "--text-key names another"
            )
        given = values.pop(self.id_key, None)
        metadata = flatten(values)
        content = _digest(given, text, metadata)
        name = f"{content[:_DIGEST]}-{row.line}" if given is None else _checked_id(given)
        self.made_ids |= given is None
        first, same = self._seen.setdefault(name, (str(row), content))
        if same != content:
            raise ValueError(f"the id {name!r:.60} was used for another text, at {first}")
        return Record(name, text, metadata)


@dataclass
class Counts:
    """What happened to the records."""

    added: int = 0
    updated: int = 0  # stored with another text or metadata, and stored anew
    changed: int = 0  # the same, but left as they were
    skipped: int = 0  # not written, because their id was stored; the changed ones are among them
    examples: list[str] = field(default_factory=list)  # ids of some that changed and were left

    def compare(
        self, batch: Mapping[str, Record], known: Mapping[str, Content], *, update: bool
    ) -> tuple[list[Record], list[Record]]:
        """Count the records of a batch: those that are new, and those to `update` as they differ.

        Texts and metadata themselves are compared, so that it does not matter who stored them.
        """
        new = [record for name, record in batch.items() if name not in known]
        differ = [batch[name] for name, row in known.items() if _differs(batch[name], *row)]
        self.added += len(new)
        self.skipped += len(known)
        if update:
            self.updated += len(differ)
            self.skipped -= len(differ)
            return new, differ
        self.changed += len(differ)
        self.examples += [one.id for one in differ][: _EXAMPLES - len(self.examples)]
        return new, []


def batches(records: Iterable[Record], size: int) -> Iterator[dict[str, Record]]:
    """Batches by id; the same row twice in one batch is one."""
    rows = iter(records)
    while batch := {record.id: record for record in islice(rows, size)}:
        yield batch


def typed(metadata: Mapping[str, Any]) -> dict[str, tuple[bool, Any]]:
    """Metadata to compare: true is not 1, and 1.0 is."""
    return {key: (isinstance(value, bool), value) for key, value in metadata.items()}


def is_made(name: str) -> bool:
    """Whether an id looks like those of rows that have none of their own."""
    return _MADE.fullmatch(name) is not None


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, Scalar]:
    """Nested values as the flat metadata that Chroma stores; a `ValueError` where it cannot.

    Dots for nested objects, `|` between the values of a list, without missing values, such as
    `{"tags.interface": "graphical|x11"}`.
    """
    flat: dict[str, Scalar] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif value is not None and value != []:
            flat[_checked_key(f"{prefix}{key}")] = _scalar(key, value)
    return flat


def _differs(record: Record, text: str | None, metadata: Mapping[str, Any]) -> bool:
    return text != record.text or typed(metadata) != typed(record.metadata)


def _digest(*parts: object) -> str:
    return sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _checked_id(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int) or not str(given).strip():
        raise ValueError(f"the id {given!r:.60} is neither a text nor a whole number")
    return str(given)


def _checked_key(key: str) -> str:
    if not key or key[0] in "#$" or key == "chroma:document":
        raise ValueError(f"the key {key!r:.60} is empty or reserved by Chroma; rename it")
    return key


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, list):
        return SEPARATOR.join(map(_item, value))
    if isinstance(value, bool | str):
        return value
    # No comparison with NaN holds.
    if isinstance(value, int | float) and abs(value) < _LARGEST:
        return value
    raise ValueError(f"the value {value!r:.60} of {key!r:.60} cannot be stored as metadata")


def _item(item: object) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
