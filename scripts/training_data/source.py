"""The folder of public data sets, read row by row."""

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(path: Path) -> Iterator[Row]:
    """The rows of a JSON lines file, one at a time."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def plain_text(text: str) -> str:
    """A text without case, spacing and marks, to find the same text again."""
    return " ".join(re.findall(r"\w+", text.lower()))


def texts_of(paths: Iterable[Path]) -> frozenset[str]:
    """The plain texts of files that are kept for measuring."""
    keys = ("text", "sentence1", "sentence2")
    return frozenset(
        plain_text(row[key]) for path in paths for row in read(path) for key in keys if key in row
    )


class Source:
    """JSON lines files of a folder, and the table of instructions.

    Args:
        folder: Holds NAME.jsonl for each set.
        table: The table of instructions, as read from its TOML file.
        seed: Decides every random choice.
        without: Plain texts that are kept for measuring; rows with them are passed over.
    """

    def __init__(
        self,
        folder: Path,
        table: dict[str, Any],
        *,
        seed: int = 0,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.folder, self.table, self.seed, self.without = folder, table, seed, without

    def has(self, *names: str) -> bool:
        """Whether all these sets are there."""
        return all((self.folder / f"{name}.jsonl").is_file() for name in names)

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a set, one at a time."""
        for row in read(self.folder / f"{name}.jsonl"):
            if plain_text(row["text"]) not in self.without:
                yield row

    def random(self, *names: str) -> random.Random:
        """A generator of its own for each purpose, so that one choice does not move another."""
        digest = hashlib.sha256("/".join((str(self.seed), *names)).encode()).digest()
        return random.Random(digest)

    def sample(
        self, name: str, count: int, keep: Callable[[Row], bool] = bool, *, purpose: str = ""
    ) -> list[Row]:
        """At most `count` rows of a set that are kept, each as likely, in random order."""
        generator = self.random(name, purpose)
        chosen: list[Row] = []
        for index, row in enumerate(filter(keep, self.rows(name))):
            if index < count:
                chosen.append(row)
            elif (place := generator.randrange(index + 1)) < count:
                chosen[place] = row
        generator.shuffle(chosen)
        return chosen

    def verbal(self, name: str, aspect: str, label: str) -> str:
        """The words for a label in the table."""
        words = self.table.get(name, {}).get(aspect, {}).get("answers", {}).get(label)
        return str(words) if words else label.replace("_", " ").replace("-", " ").lower()

    def rewritten(self) -> frozenset[str]:
        """The instructions of rows that the table has other words for."""
        return frozenset(entry["instruction"] for entry in self.table.get("rewrites", []))


def labels(row: Row, *aspects: str) -> dict[str, str]:
    """The labels of a row that have one value."""
    several = row.get("multi", [])
    found = row.get("labels", {})
    return {a: found[a] for a in aspects if a in found and a not in several and "|" not in found[a]}
