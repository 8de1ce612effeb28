"""The space of a collection: the instant query's own, or another one that a map leads to."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from instruct_embeddings._threads import Recent
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.transform.bridge import MIN_TEXTS, QueryBridge, fit_bridge
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.instant.query import InstantQuery

Sampler: TypeAlias = Callable[[int], Rows]
"""Reads about so many rows of a collection, with vectors and texts."""

_PROBES = 12
# Two builds of one model differ by rounding, or by where long texts are cut; two models by more.
_SAME = 0.98
MAP_TEXTS = 400
# Says nothing. To read some texts of the collection instead centres little better, and takes
# several times as long.
_NOTHING = "text"
_KEPT = 256
_SHORTEST = 0.3  # of the median length of the texts of a collection
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectionMoves:
    """Moves of query vectors in the space of one collection.

    Attributes:
        mover: Moves in its own space.
        bridge: Leads from there to the space of the collection; None where they are the same. Its
            report says what is lost on the way.
        likeness: Mean cosine of two texts, in the mover's own space and in that of the collection.
        texts: Some texts of the collection.
    """

    mover: "InstantQuery"
    bridge: QueryBridge | None = None
    likeness: tuple[float, float] = (0.0, 0.0)
    texts: tuple[str, ...] = ()
    _shared_moves: Recent[str, FloatArray] = field(
        default_factory=lambda: Recent(_KEPT), compare=False, repr=False
    )

    def moves(
        self,
        queries: Sequence[str],
        instruction: str,
        vectors: FloatArray,
        *,
        centred: bool = False,
    ) -> FloatArray:
        """What the instruction adds to query vectors of the collection, shape (n, d).

        `centred` takes out what it adds to a text that says nothing. What is left says in what
        respect a text differs from others, not what kind of text is wanted.
        """
        own = vectors if self.bridge is None else self.mover.embed(queries)
        moved = self.mover.moves(queries, instruction, own)
        if centred:
            moved = moved - self._shared(instruction)
        if self.bridge is not None:
            moved = moved @ self.bridge.weights.T
        return np.asarray(moved, dtype=np.float32)

    def is_like_its_texts(self, query: str) -> bool:
        """Whether a query is about as long as the texts of the collection."""
        if not self.texts:
            return False
        return _SHORTEST * self._median_length <= len(query) <= self._median_length / _SHORTEST

    @cached_property
    def _median_length(self) -> float:
        """Characters of a text of the collection."""
        return float(np.median([len(text) for text in self.texts]))

    @cached_property
    def _nothing(self) -> FloatArray:
        """Vector of a text that says nothing, shape (1, d)."""
        return self.mover.embed([_NOTHING])

    def _shared(self, instruction: str) -> FloatArray:
        """Move of a text that says nothing, shape (d,); kept for the last instructions."""
        known = self._shared_moves.get(instruction)
        if known is None:
            [found] = self.mover.moves([_NOTHING], instruction, self._nothing)
            known = self._shared_moves.put(instruction, found)
        return known

    def directions(self, phrases: Sequence[str]) -> FloatArray:
        """Generic unit vectors of phrases in the space of the collection, shape (n, d)."""
        own = self.mover.embed(phrases)
        return own if self.bridge is None else self.bridge.map(own)

    def level(self, cosine: float) -> float:
        """What a cosine of the mover's own space amounts to in the space of the collection.

        In some spaces all texts are alike. So levels are measured from the mean cosine of two
        texts, where 1 stays 1.
        """
        own, there = self.likeness
        return there + (cosine - own) / (1 - own) * (1 - there)


def find_space(mover: "InstantQuery", sample: Sampler) -> CollectionMoves:
    """Recognise the space of a collection by some of its rows, or fit a map to it.

    Raises:
        GuideError: The spaces differ, and there are too few texts to fit a map.
    """
    found = sample(_PROBES)
    probes = _with_texts(found)
    if found.vectors.shape[1] == mover.dimension:
        if not len(probes):  # nothing speaks against it
            return CollectionMoves(mover)
        cosines = (mover.embed(_texts(probes)) * unit_rows(probes.vectors)).sum(1)
        if float(np.median(cosines)) >= _SAME:
            return CollectionMoves(mover, texts=tuple(_texts(probes)))
    rows = _with_texts(sample(MAP_TEXTS))
    texts = _texts(rows)
    if len(set(texts)) < MIN_TEXTS:
        raise GuideError(
            f"The collection was filled by another model than {mover.name} moves queries of, and "
            f"only {len(set(texts))} of its sampled rows have a text; {MIN_TEXTS} different ones "
            "are needed to find a map. Store texts with the vectors, or pass instant=None."
        )
    own = mover.embed(texts)
    bridge = fit_bridge(rows.vectors, own, texts, new_model=mover.name)
    _log.info("A map into the space of the collection was fitted: %s", bridge.report)
    return CollectionMoves(
        mover, bridge, (_likeness(own), _likeness(unit_rows(rows.vectors))), tuple(texts)
    )


def _likeness(vectors: FloatArray) -> float:
    """Mean cosine of two different rows of unit length."""
    count = len(vectors)
    total = np.square(vectors.astype(np.float64).sum(0)).sum()
    return float((total - count) / max(1, count * (count - 1)))


def _with_texts(rows: Rows) -> Rows:
    return rows.take([i for i, text in enumerate(rows.read_texts) if text and text.strip()])


def _texts(rows: Rows) -> list[str]:
    return [text or "" for text in rows.read_texts]
