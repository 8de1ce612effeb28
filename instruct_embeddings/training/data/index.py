"""An index over a file of examples, in memory: where rows stand, by what is asked about them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, zip_longest
from operator import attrgetter
from typing import NamedTuple


class Entry(NamedTuple):
    """A row under one question."""

    answer: int  # hash of the answer
    text: int  # hash of the text
    offset: int  # byte offset of the row in its file
    length: int  # bytes of the row


@dataclass(frozen=True)
class IndexGroup:
    """Rows that a batch is drawn from."""

    aspect: str | None  # what is asked; None where rows bring their instructions
    mixed: bool  # whether rows bring different instructions
    answers: list[list[Entry]]  # rows by answer

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.answers))


class FileIndex:
    """Rows of a file by aspect, and by the instruction that they bring.

    Filled in one pass; then `hold_out` and `pick_*` take out what is measured on, and `groups` is
    the rest. Equal rows give equal groups, whatever the order of the lines.
    """

    def __init__(self, *, least: int) -> None:
        """Instructions of fewer than `least` rows, or of one answer, are to be mixed."""
        self.labelled: defaultdict[str, list[Entry]] = defaultdict(list)  # by name of the aspect
        self.own: defaultdict[int, list[Entry]] = defaultdict(list)  # by hash of the instruction
        self._least = least
        self._held: list[list[Entry]] = []
        self._withheld: set[int] = set()

    def hold_out(self, count: int) -> None:
        """Never train under the `count` instructions of the smallest hashes."""
        self._held = [self.own.pop(key) for key in sorted(self.own)[:count]]

    def pick_aspect(self, name: str, most: int) -> list[Entry]:
        """At most `most` rows of an aspect, balanced over its labels; never trained on.

        The first text of each label, then the second of each, of so many labels that each has
        several texts. Their texts are withheld from every aspect of the file.
        """
        answers = _by_answer(self.labelled[name])[: max(2, most // 4)]
        found = [row for turn in zip_longest(*answers) for row in turn if row][:most]
        self._withheld.update(row.text for row in found)
        return found

    def pick_own(self, most: int, *, group_rows: int) -> list[tuple[Entry, bool]]:
        """At most `most` rows of the held-out instructions, balanced over answers.

        As many instructions as have room with `group_rows` rows each; with more rows each where
        there is room for all. Beside each row: whether it belongs to the mixed group.
        """
        groups, found = self._grouped(self._held), []
        each = max(group_rows, most // max(1, len(groups)))
        for group in groups:
            turns = zip_longest(*group.answers)
            rows = [
                row for turn in turns for row in sorted(filter(None, turn), key=attrgetter("text"))
            ]
            found += [(row, group.mixed) for row in rows[:each]]
        return found[:most]

    def groups(self) -> list[IndexGroup]:
        """What is left to train on."""
        found = []
        for name in sorted(self.labelled):
            rows = [row for row in self.labelled[name] if row.text not in self._withheld]
            if rows:
                found.append(IndexGroup(name, False, _by_answer(rows)))
        return found + self._grouped([self.own[key] for key in sorted(self.own)])

    def _grouped(self, parts: Iterable[list[Entry]]) -> list[IndexGroup]:
        """Groups of rows by instruction, the mixed one in front."""
        mixed: list[Entry] = []
        groups = []
        for rows in parts:
            if len(rows) < self._least or len({row.answer for row in rows}) < 2:
                mixed += rows
            else:
                groups.append(IndexGroup(None, False, _by_answer(rows)))
        return [IndexGroup(None, True, _by_answer(mixed)), *groups] if mixed else groups


def _by_answer(rows: Iterable[Entry]) -> list[list[Entry]]:
    return [list(found) for _, found in groupby(sorted(rows), attrgetter("answer"))]
