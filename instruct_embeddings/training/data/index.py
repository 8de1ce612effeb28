"""An index over files of examples, in memory: six numbers a row, of which three stay."""

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from instruct_embeddings._types import BoolArray, IntArray

_Columns: TypeAlias = Sequence[IntArray] | IntArray


class Entry(NamedTuple):
    """An example as it is staged; numbers are hashes where nothing else is said."""

    source: int  # number of its file
    own: bool  # whether the row brings an instruction of its own
    key: int  # that instruction, or the number of the aspect
    answer: int
    text: int
    offset: int  # byte offset of the row in its file
    length: int  # bytes of the row


class RowLocation(NamedTuple):
    """Where a row stands in its file, and the hash of its text."""

    text: int
    offset: int
    length: int


class IndexGroup(NamedTuple):
    """A group as the index knows it; its answers have the numbers from `first` on."""

    source: int  # number of its file
    own: bool  # whether its rows bring their instructions
    key: int | None  # the instruction or the aspect; None where several instructions are mixed
    first: int  # number of its first answer
    answers: int  # how many different answers it has
    rows: int


class ExampleIndex:
    """Rows by group and answer.

    Filled in one pass (`stage`), then divided: `divide` finds the instructions, `hold_out_*` and
    `pick_*` take out what is measured on, `finish` orders the rest. Equal rows give an equal index,
    whatever the order of the lines.
    """

    def __init__(self) -> None:
        self._staged = array("q")
        self._withheld: dict[int, set[int]] = {}

    def stage(self, entries: Iterable[Entry]) -> None:
        """Take in examples, one after the other."""
        for entry in entries:
            self._staged.extend(entry)

    def divide(self, *, least: int) -> None:
        """Divide what was staged by aspect and instruction.

        Instructions of fewer than `least` rows, or of one answer, where the answers do not
        differ, are mixed.
        """
        table = np.frombuffer(self._staged, dtype=np.int64).reshape(-1, len(Entry._fields)).T
        # (source, own, key, answer, text, offset): sorted by the first, then the second, ...
        self._rows = table[:, np.lexsort(table[:6][::-1])]
        self._staged = array("q")
        self._bounds = _bounds(self._rows[:3])
        starts = self._bounds[:-1]
        self._source, self._own, self._key = self._rows[:3, starts]
        answers = np.add.reduceat(_changes(self._rows[:4]).astype(np.int64), starts)
        self._mixed = (self._own == 1) & ((np.diff(self._bounds) < least) | (answers < 2))
        self._held = np.zeros(len(starts), dtype=np.bool_)

    def aspects(self, source: int) -> list[int]:
        """The aspects that a source has, by their numbers."""
        return [int(key) for key in self._key[(self._source == source) & (self._own == 0)]]

    def instructions(self, source: int) -> int:
        """How many different instructions the rows of a source bring."""
        return len(self._instructions(source))

    def hold_out_source(self, source: int) -> None:
        """Never train on a source."""
        self._held |= self._source == source

    def hold_out_instructions(self, source: int, count: int) -> None:
        """Never train under the `count` instructions of the smallest hashes."""
        self._held[self._instructions(source)[:count]] = True

    def count(self, source: int, aspect: int) -> int:
        """How many rows have a label for the aspect."""
        return int(self._aspect(source, aspect).shape[1])

    def pick_aspect(self, source: int, aspect: int, most: int) -> list[RowLocation]:
        """At most `most` rows of an aspect, balanced over its labels; never trained on.

        The first text of each label, then the second of each, of so many labels that each has
        several texts. Their texts are withheld from every aspect of the source.
        """
        rows = self._aspect(source, aspect)
        label, turn = _numbered(rows[3:4])
        order = np.lexsort((label, turn))
        order = order[label[order] < max(2, most // 4)][:most]
        found = _locations(rows[4:, order])
        self._withheld.setdefault(source, set()).update(one.text for one in found)
        return found

    def pick_own(
        self, source: int, most: int, *, group_rows: int
    ) -> list[tuple[RowLocation, bool]]:
        """At most `most` rows of the held-out instructions of a source, balanced over answers.

        As many instructions as have room with `group_rows` rows each; with more rows each where
        there is room for all. Beside each location: whether the row belongs to the mixed group.
        """
        chosen = self._held & (self._own == 1) & (self._source == source)
        rows, kind = self._rows[:, chosen[self._part()]], self._kind()[chosen[self._part()]]
        # Turns among the rows of one answer, then among those of one instruction.
        order = np.lexsort((rows[5], rows[4], rows[3], kind))
        rows, kind = rows[:, order], kind[order]
        _, turn = _numbered((kind, rows[3]))
        order = np.lexsort((rows[4], turn, kind))
        number, nth = _numbered((kind[order],))
        groups = int(number[-1]) + 1 if len(number) else 1
        order = order[nth < max(group_rows, most // groups)][:most]
        mixed = kind[order] < 0
        return list(zip(_locations(rows[4:, order]), mixed.tolist(), strict=True))

    def finish(self) -> list[IndexGroup]:
        """Order what is left for drawing; nothing can be held out any more."""
        part = self._part()
        kept = ~self._held[part]
        for source, texts in self._withheld.items():
            of_aspects = (self._rows[0] == source) & (self._rows[1] == 0)
            kept &= ~(of_aspects & np.isin(self._rows[4], list(texts)))
        rows, kind = self._rows[:, kept], self._kind()[kept]
        # Mixed instructions of a source stand in front of its others.
        order = np.lexsort((rows[5], rows[4], rows[3], kind, rows[1], rows[0]))
        rows, kind = rows[:, order], kind[order]
        self._columns = rows[4:]
        answers = _bounds((rows[0], rows[1], kind, rows[3]))
        self._answers = np.stack([answers[:-1], np.diff(answers)], axis=1)
        groups = _bounds((rows[0], rows[1], kind))
        firsts = np.searchsorted(answers, groups)
        return [
            IndexGroup(
                source=int(rows[0, start]),
                own=bool(rows[1, start]),
                key=None if kind[start] < 0 else int(rows[2, start]),
                first=int(first),
                answers=int(end - first),
                rows=int(stop - start),
            )
            for start, stop, first, end in zip(
                groups[:-1], groups[1:], firsts[:-1], firsts[1:], strict=True
            )
        ]

    def answers(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """The number of the first row of each answer, and how many rows it has."""
        return [(first, count) for first, count in self._answers[list(numbers)].tolist()]

    def rows(self, numbers: Sequence[int]) -> list[RowLocation]:
        """Where rows stand."""
        return _locations(self._columns[:, list(numbers)])

    def _part(self) -> IntArray:
        """The aspect or instruction of each row, by its number."""
        return np.repeat(np.arange(len(self._held)), np.diff(self._bounds))

    def _kind(self) -> IntArray:
        """The same, but -1 for all that are mixed."""
        return np.where(self._mixed, -1, np.arange(len(self._held)))[self._part()]

    def _instructions(self, source: int) -> IntArray:
        return np.flatnonzero((self._source == source) & (self._own == 1))

    def _aspect(self, source: int, aspect: int) -> IntArray:
        """The rows of an aspect that the source has; they stand together."""
        known = (self._source == source) & (self._own == 0) & (self._key == aspect)
        [number] = np.flatnonzero(known)
        return self._rows[:, self._bounds[number] : self._bounds[number + 1]]


def _changes(columns: _Columns) -> BoolArray:
    """Where a row differs from the one before; the first does."""
    found = np.ones(len(columns[0]), dtype=np.bool_)
    found[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return found


def _bounds(columns: _Columns) -> IntArray:
    """Where equal rows begin, and the end of all."""
    return np.append(np.flatnonzero(_changes(columns)), len(columns[0]))


def _numbered(columns: _Columns) -> tuple[IntArray, IntArray]:
    """For each row the number of its kind, and its own among those of this kind; from 0."""
    bounds = _bounds(columns)
    kind = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return kind, np.arange(len(kind)) - bounds[kind]


def _locations(columns: IntArray) -> list[RowLocation]:
    return [RowLocation(*row) for row in columns.T.tolist()]
