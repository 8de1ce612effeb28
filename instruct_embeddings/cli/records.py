"""Records to store; a line that cannot be read is named by file and number."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from instruct_embeddings.cli.files import Decode, split
from instruct_embeddings.cli.flatten import Scalar, flatten
from instruct_embeddings.errors import DataError

_DIGEST = 16
_MADE = re.compile(rf"[0-9a-f]{{{_DIGEST}}}-[0-9]+")


@dataclass(frozen=True)
class Record:
    """One row to store.

    Attributes:
        id: Given in the file, or made of the content and the line.
        text: What is embedded.
        metadata: Everything else of the row, flat.
    """

    id: str
    text: str
    metadata: Mapping[str, Scalar]


@dataclass
class Reader:
    """Reads files of records.

    Attributes:
        text_key: Key (or CSV column) of the text.
        id_key: Key (or CSV column) of the identifier, where a row has one.
        skip_bad: Collect the lines that cannot be read instead of stopping at the first.
        bad: What was skipped: one message a line.
        made_ids: Whether a row had no id of its own.
    """

    text_key: str = "text"
    id_key: str = "id"
    skip_bad: bool = False
    bad: list[str] = field(default_factory=list)
    made_ids: bool = False
    _seen: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def read(self, files: Iterable[Path]) -> Iterator[Record]:
        """The records of the files, in order.

        Raises:
            DataError: A file cannot be read, or a line of it (unless `skip_bad`).
        """
        for file in files:
            for line, decode in split(file, self.text_key):
                try:
                    record = self._record(decode, f"{file}:{line}", line)
                except ValueError as exc:
                    self._report(f"{file}:{line}: {exc}")
                else:
                    yield record

    def count(self, files: Iterable[Path]) -> int:
        """Number of rows in the files, bad ones included.

        Raises:
            DataError: A file cannot be read.
        """
        return sum(1 for file in files for _ in split(file, self.text_key))

    def has(self, name: str) -> bool:
        """Whether a row of this id was read."""
        return name in self._seen

    def _report(self, problem: str) -> None:
        if not self.skip_bad:
            raise DataError(
                f"{problem}. Nothing of this batch was stored. Mend the line and run the same "
                "command again (rows already stored are skipped), or pass --skip-bad."
            )
        self.bad.append(problem)

    def _record(self, decode: Decode, place: str, line: int) -> Record:
        row = decode()
        text = row.pop(self.text_key, None)
        if not isinstance(text, str) or not text.strip():
            others = [key[:40] for key in sorted(row)[:10]]
            raise ValueError(
                f"no text under the key {self.text_key!r} (the other keys: {others}); "
                "--text-key names another"
            )
        given = row.pop(self.id_key, None)
        metadata = flatten(row)
        content = _digest(given, text, metadata)
        name = f"{content[:_DIGEST]}-{line}" if given is None else _checked_id(given)
        self.made_ids |= given is None
        first, same = self._seen.setdefault(name, (place, content))
        if same != content:
            raise ValueError(f"the id {name!r:.60} was used for another text, at {first}")
        return Record(name, text, metadata)


def is_made(name: str) -> bool:
    """Whether an id looks like those of rows that have none of their own."""
    return _MADE.fullmatch(name) is not None


def _digest(*parts: object) -> str:
    content = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    try:
        return sha256(content.encode()).hexdigest()
    except UnicodeEncodeError as exc:
        raise ValueError("not UTF-8 text") from exc


def _checked_id(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int) or not str(given).strip():
        raise ValueError(f"the id {given!r:.60} is neither a text nor a whole number")
    return str(given)
