"""Evidence for or against a guide besides its own word, on the rows that it read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instruct_embeddings._printable import printed
from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform.quality import (
    class_matches,
    exceeds_chance,
    leave_self_out,
    precision_at_k,
    standard_error,
)
from instruct_embeddings.transform.vectors import centred, unit_rows

_MAX_ROWS = 1000
_NEIGHBOURS = 10
_MAX_VALUES = 50
_MIN_REPEATS = 5  # rows that a value has on the mean
_MAX_KEYS = 5
_PAIRS = 3


@dataclass(frozen=True)
class KeyCheck:
    """Precision@10 by one metadata key: how often near rows have a value of it in common."""

    key: str
    rows: int  # that have the key
    generic: float  # with neighbours by the stored vectors
    guide: float  # with neighbours by the guide
    error: float  # standard error of `guide - generic`

    @property
    def gains(self) -> bool:
        """Whether the guide sorts rows by this key better than the stored vectors do."""
        return exceeds_chance(self.guide - self.generic, self.error)

    @printed
    def __str__(self) -> str:
        """The key and both figures."""
        return f"{self.key} {self.generic:.3f} -> {self.guide:.3f}"


@dataclass(frozen=True)
class GuideCheck:
    """Signs of whether a guide can be trusted on the rows that it read.

    Agreement with a guide says nothing about the guide: one that reads an instruction wrongly is
    agreed with as well. It can be compared with what it did not see, stored metadata, and by a
    reader.

    Attributes:
        keys: Metadata keys with a few repeated values, the one first that the guide gains most on.
            A key that has nothing to do with the instruction says nothing; one that means the same
            should gain.
        pairs: Ids of rows that the guide puts closest together and the stored vectors do not. Under
            the instruction they should be alike: read them.
    """

    keys: tuple[KeyCheck, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def gains(self) -> bool | None:
        """Whether the guide sorts by any key better than the vectors; None without such keys."""
        return any(key.gains for key in self.keys) if self.keys else None

    @printed
    def __str__(self) -> str:
        """One line."""
        better = ", ".join(str(key) for key in self.keys if key.gains)
        rest = ", ".join(str(key) for key in self.keys if not key.gains)
        said = ["precision@10 by metadata, vectors -> guide" if self.keys else "no metadata to ask"]
        said += [f"better by {better}"] if better else []
        said += [f"no better by {rest}"] if rest else []
        if self.pairs:
            said.append("finds alike " + "; ".join(f"{a!r} and {b!r}" for a, b in self.pairs))
        return f"the guide itself: {'; '.join(said)}"


def check_guide(rows: Rows, targets: Targets) -> GuideCheck:
    """Compare the targets of a guide with metadata, and find what they say that vectors do not.

    Of rows with vectors and metadata the first 1,000 that were judged are looked at.
    """
    judged = np.flatnonzero(targets.judged)[:_MAX_ROWS]
    if len(judged) <= _NEIGHBOURS:
        return GuideCheck()
    sample = rows.take(judged)
    own, known = centred(targets.vectors[judged]), unit_rows(sample.vectors)
    by_guide, by_vectors = leave_self_out(own @ own.T), leave_self_out(known @ known.T)
    keys = [
        _check_key(key, values, by_guide, by_vectors)
        for key, values in _class_keys(sample.metadatas)
    ]
    keys.sort(key=lambda one: one.generic - one.guide)
    pairs = [(sample.ids[a], sample.ids[b]) for a, b in _surprises(by_guide, by_vectors)]
    return GuideCheck(tuple(keys[:_MAX_KEYS]), tuple(pairs))


def _class_keys(
    metadatas: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[str | None]]]:
    """Keys that most rows have, with few values that repeat: names of classes, no ids or dates."""
    for name in sorted({key for metadata in metadatas for key in metadata}):
        found = [metadata.get(name) for metadata in metadatas]
        values = [str(x) or None if isinstance(x, str | bool | int) else None for x in found]
        present = [value for value in values if value]
        distinct = len(set(present))
        classes = 2 <= distinct <= min(_MAX_VALUES, len(present) // _MIN_REPEATS)
        if classes and 2 * len(present) >= len(values):
            yield name, values


def _check_key(
    key: str, values: Sequence[str | None], by_guide: FloatArray, by_vectors: FloatArray
) -> KeyCheck:
    has = [row for row, value in enumerate(values) if value is not None]
    _, codes = np.unique([str(values[row]) for row in has], return_inverse=True)
    same = class_matches(codes)
    block = np.ix_(has, has)
    generic = precision_at_k(by_vectors[block], same, _NEIGHBOURS)
    guide = precision_at_k(by_guide[block], same, _NEIGHBOURS)
    figures = float(generic.mean()), float(guide.mean()), standard_error(guide - generic)
    return KeyCheck(key, len(has), *(round(figure, 4) for figure in figures))


def _surprises(by_guide: FloatArray, by_vectors: FloatArray) -> list[tuple[int, int]]:
    """The closest pairs by the guide that are farther apart than half of all pairs, rows once."""
    once = np.triu(np.ones(by_guide.shape, dtype=np.bool_), 1)
    apart = once & (by_vectors < np.median(by_vectors[once]))
    left = np.where(apart, by_guide, -np.inf)
    found: list[tuple[int, int]] = []
    while len(found) < _PAIRS and left.max() > -np.inf:
        one, other = divmod(int(left.argmax()), len(left))
        found.append((one, other))
        for row in (one, other):
            left[row] = left[:, row] = -np.inf
    return found
