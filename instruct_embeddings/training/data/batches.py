"""Batches of one instruction, balanced over answers: a pure function of seed and step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.config import normal_form
from instruct_embeddings.training.data.files import (
    Aspect,
    Example,
    InstructionTable,
    Row,
    SourceFile,
)
from instruct_embeddings.training.data.index import Entry

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
    # What is asked about labelled rows; None where rows bring their instructions.
    aspect: Aspect | None = None
    mixed: bool = False  # whether rows bring different instructions
    competing: tuple[Aspect, ...] = ()  # other aspects whose answers are wrong answers here

    def example(self, entry: Entry, wording: float) -> Example:
        """The example of a row; `wording` in [0, 1) chooses among the wordings."""
        row = self.file.row(entry.offset, entry.length)
        own, answer, labels = row.instruction or "", self._answer(row), dict(row.labels)
        wordings = self.table.rewrites.get(own, (own,))
        if self.aspect is not None:
            wordings = self.aspect.instructions
        others = [a.answer(labels[a.label]) for a in self.competing if a.label in labels]
        wrong = tuple(other for other in others if normal_form(other) != normal_form(answer))
        instruction = wordings[int(wording * len(wordings))]
        return Example(row.text, instruction, answer, row.negatives + wrong, self.name)

    def answer(self, entry: Entry) -> str:
        """The answer of a row."""
        return self._answer(self.file.row(entry.offset, entry.length))

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
    """A group with its rows by answer, and what makes examples of them."""

    group: Group
    reader: GroupReader
    answers: list[list[Entry]]


@dataclass(frozen=True)
class BatchSource:
    """Draws batches from groups whose probabilities add up to 1."""

    groups: Sequence[DrawnGroup]
    batch_size: int
    extra_answers: int
    seed: int

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step from 0 on: the same whenever it is asked for.

        The answers are drawn first: half as many as examples, or all where a group has fewer, so
        that each has several texts; all different in open groups. Then texts of each in equal
        numbers, none twice unless the group has too few. The processes of all ranks draw from one
        group under one instruction.
        """
        shared = np.random.default_rng([self.seed, step])
        edges = np.cumsum([one.group.probability for one in self.groups])
        chosen = int(np.searchsorted(edges, shared.random(), side="right"))
        drawn = self.groups[min(chosen, len(self.groups) - 1)]
        wording = float(shared.random())
        # [seed, step] and [seed, step, 0] would give the same numbers.
        rng = np.random.default_rng([self.seed, step, rank + 1])
        rows, others = self._draw(drawn, rng)
        reader = drawn.reader
        reader.file.check()
        examples = tuple(
            reader.example(row, float(rng.random()) if reader.mixed else wording) for row in rows
        )
        return Batch(examples, reader.name, tuple(reader.answer(row) for row in others))

    def _draw(self, drawn: DrawnGroup, rng: np.random.Generator) -> tuple[list[Entry], list[Entry]]:
        """Rows of the batch, and one row of each of some answers that are not in it."""
        known, size = len(drawn.answers), self.batch_size
        most = min(known, 2 * size + self.extra_answers)
        answers = [drawn.answers[i] for i in rng.choice(known, most, replace=False)]
        counts = [len(rows) for rows in answers]
        wanted = size if known * _ROWS_OF_A_LABEL > drawn.group.rows else max(2, size // 2)
        used = min(wanted, most)
        while used < most and sum(counts[:used]) < size:
            used += 1
        quotas = spread(counts[:used], size) + [0] * (most - used)
        candidates = []
        for rows, quota, at in zip(answers, quotas, rng.random(most).tolist(), strict=True):
            picked = [int(at * len(rows))]
            if quota and len(rows) > 1:
                few = min(len(rows), quota + _SPARE_ROWS)
                picked = rng.choice(len(rows), few, replace=False).tolist()
            candidates.append([rows[i] for i in picked])
        taken = choose([[row.text for row in rows] for rows in candidates], quotas, size)
        in_batch = {i for i, _ in taken}
        others = [rows[0] for i, rows in enumerate(candidates) if i not in in_batch]
        order = np.resize(rng.permutation(len(taken)), size)
        chosen = [candidates[i][j] for i, j in taken]
        return [chosen[i] for i in order], others[: self.extra_answers]


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
    chosen: dict[tuple[int, int], None] = {}
    unasked = [size * (not quota) for quota in quotas]
    for limits in (quotas, unasked, [size] * len(quotas)):
        for i, row_texts in enumerate(texts):
            room = min(limits[i], size - len(chosen))
            for j, text in enumerate(row_texts):
                if room > 0 and text not in seen:
                    seen.add(text)
                    chosen[i, j] = None
                    room -= 1
    every = ((i, j) for i, row_texts in enumerate(texts) for j in range(len(row_texts)))
    return [*chosen, *(place for place in every if place not in chosen)][:size]


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
    owner = np.asarray(sources)
    sizes, within = np.bincount(owner, weights=capped), capped**temperature
    totals = np.bincount(owner, weights=within)
    chances = np.asarray(weights)[owner] * sizes[owner] ** temperature * within / totals[owner]
    return np.asarray(chances / chances.sum(), dtype=np.float64)
