"""Batches of one instruction, balanced over answers: a pure function of seed and step."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.data.files import (
    Aspect,
    Example,
    InstructionTable,
    Row,
    SourceFile,
    answer_key,
    parse_row,
)
from instruct_embeddings.training.data.index import ExampleIndex, RowLocation

# With fewer rows an answer on average, a group is open: a question with answers of its own.
_ROWS_OF_A_LABEL = 4
# Further rows of each answer, for those whose text stands in the batch already.
_SPARE_ROWS = 4


@dataclass(frozen=True)
class Batch:
    """Examples that share an instruction, but for mixed groups."""

    examples: tuple[Example, ...]  # as many as the batch size says
    group: str  # name of the group that they were drawn from
    answers: tuple[str, ...] = ()  # further answers of the group, which no example of the batch has


@dataclass(frozen=True)
class GroupReader:
    """Makes examples of the rows of one group."""

    name: str
    file: SourceFile  # where its rows stand
    table: InstructionTable  # other wordings of the instructions that rows bring
    max_characters: int  # longer texts are cut there
    # What is asked about labelled rows; None where rows bring their instructions.
    aspect: Aspect | None = None
    mixed: bool = False  # whether rows bring different instructions
    competing: tuple[Aspect, ...] = ()  # other aspects whose answers are wrong answers here

    def example(self, location: RowLocation, wording: float) -> Example:
        """The example of a row; `wording` in [0, 1) chooses among the wordings."""
        row = self._row(location)
        wordings = (
            self.aspect.instructions if self.aspect else self.table.wordings(row.instruction or "")
        )
        instruction = wordings[int(wording * len(wordings))]
        answer, labels = self._answer(row), dict(row.labels)
        others = (
            aspect.answer(labels[aspect.label])
            for aspect in self.competing
            if aspect.label in labels
        )
        wrong = tuple(other for other in others if answer_key(other) != answer_key(answer))
        return Example(row.text, instruction, answer, row.negatives + wrong, self.name)

    def answer(self, location: RowLocation) -> str:
        """The answer of a row."""
        return self._answer(self._row(location))

    def instruction(self, location: RowLocation) -> str:
        """The instruction that a row brings."""
        return self._row(location).instruction or ""

    def _row(self, location: RowLocation) -> Row:
        line = self.file.read(location.offset, location.length)
        return parse_row(line, max_characters=self.max_characters)

    def _answer(self, row: Row) -> str:
        if self.aspect is None:
            return row.answer
        return self.aspect.answer(dict(row.labels)[self.aspect.label])


@dataclass(frozen=True)
class Group:
    """What batches of one instruction are drawn from."""

    # Set and aspect, "clinc150/intent"; a set and the digest of the instruction that its rows
    # bring, "natinst/1f0c4b2a"; or "natinst/mixed".
    name: str
    source: str
    rows: int  # examples to train on
    answers: int  # different answers among them
    probability: float  # how often it is drawn; the sum over all groups is 1
    instruction: str = ""  # the instruction that its rows bring; empty for labels and mixed groups


@dataclass(frozen=True)
class DrawnGroup:
    """A group with what makes examples of its rows; its answers are numbered from `first` on."""

    group: Group
    reader: GroupReader
    first: int


class BatchSource:
    """Draws batches from groups whose probabilities add up to 1."""

    def __init__(
        self,
        index: ExampleIndex,
        groups: Sequence[DrawnGroup],
        *,
        batch_size: int,
        extra_answers: int,
        seed: int,
    ) -> None:
        self._index, self._groups, self._seed = index, tuple(groups), seed
        self._batch_size, self._extra_answers = batch_size, extra_answers
        self._edges = np.cumsum([one.group.probability for one in groups])
        self._lock = Lock()

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step from 0 on: the same whenever it is asked for.

        The answers are drawn first: half as many as examples, or all where a group has fewer, so
        that each has several texts; all different in open groups. Then texts of each in equal
        numbers, none twice unless the group has too few. The processes of all ranks draw from one
        group under one instruction.
        """
        if step < 0 or rank < 0:
            raise ConfigError(f"step and rank must be integers >= 0, got {step} and {rank}")
        shared = np.random.default_rng([self._seed, step])
        chosen = int(np.searchsorted(self._edges, shared.random(), side="right"))
        drawn = self._groups[min(chosen, len(self._groups) - 1)]
        wording = float(shared.random())
        # [seed, step] and [seed, step, 0] would give the same numbers.
        rng = np.random.default_rng([self._seed, step, rank + 1])
        with self._lock:
            rows, others = self._draw(drawn, rng)
            reader = drawn.reader
            reader.file.check()
            examples = tuple(
                reader.example(row, float(rng.random()) if reader.mixed else wording)
                for row in rows
            )
            answers = tuple(reader.answer(row) for row in others)
        return Batch(examples, reader.name, answers)

    def _draw(
        self, drawn: DrawnGroup, rng: np.random.Generator
    ) -> tuple[list[RowLocation], list[RowLocation]]:
        """Rows of the batch, and one row of each of some answers that are not in it."""
        group, size = drawn.group, self._batch_size
        most = min(group.answers, 2 * size + self._extra_answers)
        order = rng.choice(group.answers, most, replace=False) + drawn.first
        answers = self._index.answers(order.tolist())
        counts = [count for _, count in answers]
        wanted = size if group.answers * _ROWS_OF_A_LABEL > group.rows else max(2, size // 2)
        used = min(wanted, most)
        while used < most and sum(counts[:used]) < size:
            used += 1
        quotas = spread(counts[:used], size) + [0] * (most - used)
        candidates = self._candidates(answers, quotas, rng)
        taken = choose([[row.text for row in rows] for rows in candidates], quotas, size)
        chosen = [candidates[i][j] for i, j in taken]
        in_batch = {i for i, _ in taken}
        others = [rows[0] for i, rows in enumerate(candidates) if i not in in_batch]
        order = np.resize(rng.permutation(len(chosen)), size)
        return [chosen[i] for i in order], others[: self._extra_answers]

    def _candidates(
        self, answers: Sequence[tuple[int, int]], quotas: Sequence[int], rng: np.random.Generator
    ) -> list[list[RowLocation]]:
        """For each answer some of its rows, more than its quota where it has more."""
        numbers: list[int] = []
        lengths: list[int] = []
        single = rng.random(len(answers)).tolist()
        for (first, count), quota, at in zip(answers, quotas, single, strict=True):
            few = min(count, quota + _SPARE_ROWS)
            drawn = rng.choice(count, few, replace=False) if quota and count > 1 else ()
            numbers += [first + int(i) for i in drawn] or [first + int(at * count)]
            lengths.append(max(1, len(drawn)))
        found = iter(self._index.rows(numbers))
        return [[next(found) for _ in range(length)] for length in lengths]


def spread(counts: Sequence[int], total: int) -> list[int]:
    """Spread `total` rows as evenly as the counts, the most that each can take, allow."""
    quotas, left = [0] * len(counts), total
    unfilled = [i for i, count in enumerate(counts) if count]
    while left and unfilled:
        each = max(1, left // len(unfilled))
        for i in unfilled:
            given = min(each, counts[i] - quotas[i], left)
            quotas[i] += given
            left -= given
        unfilled = [i for i in unfilled if quotas[i] < counts[i]]
    return quotas


def choose(
    texts: Sequence[Sequence[int]], quotas: Sequence[int], size: int
) -> list[tuple[int, int]]:
    """Choose `size` rows of different texts: (answer, candidate) of each.

    `texts` are those of the candidates of each answer, `quotas` the rows wanted of it. What quotas
    leave open is filled with answers without a quota, then with further candidates of the others,
    at last with texts that are chosen already.
    """
    seen: set[int] = set()
    chosen: list[tuple[int, int]] = []
    unasked = [size * (not quota) for quota in quotas]
    for limits in (quotas, unasked, [size] * len(quotas)):
        for i, row_texts in enumerate(texts):
            room = min(limits[i], size - len(chosen))
            for j, text in enumerate(row_texts):
                if room > 0 and text not in seen:
                    seen.add(text)
                    chosen.append((i, j))
                    room -= 1
    taken = set(chosen)
    repeated = [
        (i, j)
        for i, row_texts in enumerate(texts)
        for j in range(len(row_texts))
        if (i, j) not in taken
    ]
    return chosen + repeated[: size - len(chosen)]


def group_probabilities(
    rows: Sequence[int],
    sources: Sequence[int],
    weights: Sequence[float],
    *,
    temperature: float,
    max_rows: int,
) -> NDArray[np.float64]:
    """Chance of each of g groups to give a batch, shape (g,).

    A set is drawn in proportion to its weight times its size to the power of `temperature`, and
    its chance is divided among its groups in the same way: a set of 119 instructions is not drawn
    119 times as often as one of a single instruction. Temperature 0 draws all sets of one weight
    equally often, 1 draws all rows of one weight equally often. Rows of a group beyond `max_rows`
    do not count; `sources` are indices of `weights`.
    """
    capped = np.minimum(np.asarray(rows, dtype=np.float64), max_rows)
    owner = np.asarray(sources, dtype=np.int64)
    sizes = np.bincount(owner, weights=capped, minlength=len(weights))
    within = capped**temperature
    totals = np.bincount(owner, weights=within, minlength=len(weights))
    chances = np.asarray(weights)[owner] * sizes[owner] ** temperature * within / totals[owner]
    return np.asarray(chances / chances.sum(), dtype=np.float64)
