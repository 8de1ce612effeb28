"""What a guide says about a sample of rows: labels, pairs or target vectors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.errors import GuideError


@dataclass(frozen=True)
class Labels:
    """One set of labels for each sampled row; an empty set means that the row was not judged.

    Attributes:
        rows: Labels per row, in the order of the sample.
    """

    rows: tuple[frozenset[str], ...]

    @classmethod
    def single(cls, labels: Sequence[str | None]) -> "Labels":
        """Labels from at most one label a row; `None` means not judged."""
        return cls(tuple(frozenset() if x is None else frozenset([x]) for x in labels))

    @property
    def judged(self) -> BoolArray:
        """Rows that carry at least one label, shape (n,)."""
        return np.array([bool(row) for row in self.rows], dtype=np.bool_)

    def counts(self) -> dict[str, int]:
        """Number of rows for each label, most frequent first."""
        return dict(Counter(label for row in self.rows for label in sorted(row)).most_common())


@dataclass(frozen=True)
class Pairs:
    """Judged pairs of vectors: a query side, a document side, and whether they belong together.

    Attributes:
        queries: Query-side generic vectors, shape (m, d).
        documents: Document-side generic vectors, shape (m, d).
        relevant: Whether each pair belongs together, shape (m,).
    """

    queries: FloatArray
    documents: FloatArray
    relevant: BoolArray

    def __post_init__(self) -> None:
        if self.queries.shape != self.documents.shape or self.queries.ndim != 2:
            raise GuideError(
                "Pairs need two arrays of the same shape (m, d), got "
                f"{self.queries.shape} and {self.documents.shape}."
            )
        if self.relevant.shape != (len(self.queries),):
            raise GuideError(
                f"Pairs need one relevance a pair, shape ({len(self.queries)},), "
                f"got {self.relevant.shape}."
            )

    def take(self, rows: IntArray | slice) -> "Pairs":
        """Some of the pairs."""
        return Pairs(self.queries[rows], self.documents[rows], self.relevant[rows])


@dataclass(frozen=True)
class Targets:
    """Instruction-aware vectors `z(x, I)` for the sampled rows.

    Attributes:
        vectors: Target vectors, shape (n, p); any p.
        judged: Rows that have a target, shape (n,).
        labels: Names of what the rows are taken for, where the guide knows names. Searches learn
            from the vectors alone; labels are for reports and explanations.
    """

    vectors: FloatArray
    judged: BoolArray
    labels: Labels | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.judged.shape != (len(self.vectors),):
            raise GuideError(
                "Targets need vectors of shape (n, p) and judged of shape (n,), got "
                f"{self.vectors.shape} and {self.judged.shape}."
            )
        if self.labels is not None and len(self.labels.rows) != len(self.vectors):
            raise GuideError(
                f"Targets of {len(self.vectors)} rows came with labels of "
                f"{len(self.labels.rows)}. Give every row its labels, an empty set for none."
            )

    def joined(self, other: "Targets") -> "Targets":
        """These rows, then those of another."""
        both = None
        if self.labels is not None and other.labels is not None:
            both = Labels(self.labels.rows + other.labels.rows)
        return Targets(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.judged, other.judged]),
            both,
        )


Supervision: TypeAlias = Labels | Pairs | Targets
