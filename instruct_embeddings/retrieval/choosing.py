"""Which of the candidates are shown: those that are near enough, and not all alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.transform.vectors import unit_rows

# As many candidates as LangChain's vector stores take, or more where more results are wanted.
_FEWEST, _FOR_EACH = 20, 5


@dataclass(frozen=True)
class Choice:
    """What is wanted of the results beside their number.

    Attributes:
        k: Results wanted.
        least: Smallest score that is shown; None shows all.
        relevance: Maximal marginal relevance: 1 weighs a result's score alone, 0 only how far it
            is from those that are shown already; None does not look at that.
        candidates: Rows that are chosen among; None for the default.
    """

    k: int
    least: float | None = None
    relevance: float | None = None
    candidates: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", at_least("k", self.k, 1, optional=False))
        several = at_least("fetch_k (mmr_prefetch_k)", self.candidates, 1)
        object.__setattr__(self, "candidates", several)
        _within(
            "score_threshold (similarity_cutoff)",
            self.least,
            -1.0,
            "Scores are similarities in that range.",
        )
        _within("lambda_mult (mmr_threshold)", self.relevance, 0.0, "0.5 is usual.")

    def wanted(self, prefetch: int | None = None) -> int:
        """Hits to ask for, no more than the candidates that the index is asked for."""
        if self.relevance is None:
            return self.k
        several = self.candidates or max(_FEWEST, _FOR_EACH * self.k)
        return max(self.k, several if prefetch is None else min(several, prefetch))

    def of(self, hits: Sequence[Hit], collection: VectorCollection) -> list[Hit]:
        """The hits that are shown, in the order of choice.

        Args:
            hits: Best first.
            collection: Where they are stored.
        """
        near = [hit for hit in hits if self.least is None or hit.score >= self.least]
        if self.relevance is None or len(near) < 2:
            return near[: self.k]
        rows = collection.fetch([hit.id for hit in near], vectors=True)
        found = {hit.id: hit for hit in near}
        scores = np.array([found[row].score for row in rows.ids], dtype=np.float32)
        order = _spread(scores, unit_rows(rows.vectors), self.relevance, self.k)
        return [found[rows.ids[place]] for place in order]


def _spread(scores: FloatArray, units: FloatArray, relevance: float, k: int) -> list[int]:
    """Places in the order of maximal marginal relevance (Carbonell and Goldstein, 1998).

    Of equals the one that is least like those before, so that a copy never wins.

    Args:
        scores: Similarity of each candidate to the query, shape (n,).
        units: Stored vectors of the candidates, shape (n, d).
        relevance: Weight of the score.
        k: Places wanted.
    """
    likeness = units @ units.T  # (n, n)
    order = [int(np.argmax(scores))]
    nearest = likeness[order[0]].copy()
    while len(order) < min(k, len(scores)):
        value = relevance * scores - (1 - relevance) * nearest
        rest = [place for place in range(len(scores)) if place not in order]
        best = max(rest, key=lambda place: (round(float(value[place]), 5), -nearest[place]))
        order.append(best)
        nearest = np.maximum(nearest, likeness[best])
    return order


def _within(name: str, value: float | None, lowest: float, hint: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and lowest <= value <= 1.0):
        raise ConfigError(f"{name}={value!r} is not a number in [{lowest:g}, 1]. {hint}")
