"""The instant query: an instruction moves a query vector at once, nothing is fitted for it.

It moves vectors in the space of one model; a linear map leads to collections of another.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.instant.head import HEAD_FILE, MoveHead
from instruct_embeddings.protocols import Rows
from instruct_embeddings.transform.bridge import MIN_TEXTS, QueryBridge, fit_bridge
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.encoder import EncoderOptions, InstructEncoder

DEFAULT_INSTANT = "instant-minilm-l6-v1"
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


class InstantQuery:
    """Reads a query with its instruction and moves the query's generic vector.

    The folded query is `unit(v + move)`: `v` is the vector that the model of the collection makes
    of the query anyway, and what is stored stays as it is. So an instruction that was never seen
    costs one pass over one short text. It was trained to rank frozen generic vectors under many
    kinds of instructions, and to stay where it is under those that ask for nothing else.

    The moves are made for the space of one model, `all-MiniLM-L6-v2`. A collection of another
    model gets a linear map of the two spaces, fitted once from its own texts and vectors.

    Instantiate:
        ```python
        instant = InstantQuery.from_pretrained()  # comes with the package
        retriever = InstructRetriever(collection, instant=instant)
        retriever.search(
            vector, query="Gaucher disease", instruction="What can be done against it?"
        )
        ```
    """

    def __init__(self, encoder: "InstructEncoder", head: MoveHead | Path) -> None:
        """See `from_pretrained`.

        Args:
            encoder: Reads a query with its instruction; its embeddings are not normalised.
            head: Makes moves of them, or the file to read it from at the first use.
        """
        self._encoder, self._head = encoder, head
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, model: str | Path | None = None, *, device: str | None = None) -> Self:
        """Describe an instant query by its checkpoint; weights are loaded at the first use.

        Args:
            model: Folder of a checkpoint, or None for the one that comes with the package.
            device: A torch device; by default CUDA, then MPS, then the CPU.

        Raises:
            ModelNotFoundError: There is no such folder.
        """
        from instruct_embeddings.encoder import EncoderOptions

        return cls.from_options(EncoderOptions(model=str(model or DEFAULT_INSTANT), device=device))

    @classmethod
    def from_options(cls, options: "EncoderOptions") -> Self:
        """The same by all options of an encoder; those that shape its results do not count.

        Raises:
            ModelNotFoundError: There is no such folder.
        """
        from instruct_embeddings.encoder import InstructEncoder
        from instruct_embeddings.encoder.files import locate

        plain = replace(options, normalize=False, truncate_dim=None, precision="float32")
        folder = locate(plain.model, plain.revision, plain).path
        return cls(InstructEncoder(plain), folder / HEAD_FILE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._encoder.options.model!r})"

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self._encoder.name

    @property
    def space(self) -> str:
        """Name of the model whose vectors are moved."""
        return self.head.space

    @property
    def dimension(self) -> int:
        """Length of the vectors that are moved."""
        return self.head.dimension

    @property
    def head(self) -> MoveHead:
        """What makes moves of embeddings.

        Raises:
            CheckpointError: Its file is missing, damaged, or written by a newer version.
        """
        with self._lock:
            if isinstance(self._head, Path):
                self._head = MoveHead.read(self._head)
            return self._head

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Generic vectors of the model whose space is moved in, unit rows of shape (n, d)."""
        return unit_rows(self._encoder.encode(texts))

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        """What the instruction adds to query vectors of its own space; see `CollectionMoves`.

        Raises:
            InstructionError: The instruction leaves no room for a text.
            TextError: A query holds a lone surrogate.
        """
        read = np.asarray(self._encoder.encode(queries, instruction=instruction), dtype=np.float32)
        return self.head.moves(read, vectors)

    def fold(self, queries: Sequence[str], instruction: str) -> FloatArray:
        """Embed n queries under an instruction, in its own space.

        Returns:
            Folded queries, shape (n, d), each as long as the generic vector that the model makes of
            the query before it is scaled.

        Raises:
            InstructionError: The instruction leaves no room for a text.
            TextError: A query holds a lone surrogate.
        """
        from instruct_embeddings.encoder.texts import one_warning

        with one_warning(len(queries)):
            generic = self._encoder.encode(queries)
            read = self._encoder.encode(queries, instruction=instruction)
        return self._folded(generic, read)

    async def afold(self, queries: Sequence[str], instruction: str) -> FloatArray:
        """The same as `fold` without blocking the event loop."""
        from instruct_embeddings.encoder.texts import one_warning

        with one_warning(len(queries)):
            generic = await self._encoder.aencode(queries)
            read = await self._encoder.aencode(queries, instruction=instruction)
        return await asyncio.to_thread(self._folded, generic, read)

    def _folded(self, generic: FloatArray, read: FloatArray) -> FloatArray:
        vectors = unit_rows(generic)
        lengths = np.linalg.norm(generic, axis=1, keepdims=True)
        return np.asarray(lengths * unit_rows(vectors + self.head.moves(read, vectors)))

    def fingerprint(self, instruction: str) -> str:
        """A stable string for caches: equal only where `fold` gives the same for equal queries."""
        return self._encoder.fingerprint(instruction=instruction, role="query")

    def close(self) -> None:
        """Give the memory back, unless others use the same weights; then refuse to work."""
        self._encoder.close()

    def for_collection(self, sample: Sampler) -> "CollectionMoves":
        """Moves in the space of a collection; a map of the spaces is fitted where they differ.

        Raises:
            GuideError: Another model filled the collection, and it holds too few texts for a map.
        """
        return find_space(self, sample)


@dataclass(frozen=True)
class CollectionMoves:
    """Moves of query vectors in the space of one collection, of which it knows some `texts`.

    `bridge` leads there from the mover's own space; None where they are the same. `likeness` is the
    mean cosine of two texts, in the mover's space and in that of the collection.
    """

    mover: InstantQuery
    bridge: QueryBridge | None = None
    likeness: tuple[float, float] = (0.0, 0.0)
    texts: tuple[str, ...] = ()

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
    def _shared(self) -> Callable[[str], FloatArray]:
        """Moves of a text that says nothing, shape (d,); kept for the last instructions."""
        nothing = self.mover.embed([_NOTHING])
        return lru_cache(_KEPT)(lambda asked: self.mover.moves([_NOTHING], asked, nothing)[0])

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


def find_space(mover: InstantQuery, sample: Sampler) -> CollectionMoves:
    """Recognise the space of a collection by some of its rows, or fit a map to it."""
    vectors, texts = _with_texts(sample(_PROBES))
    if vectors.shape[1] == mover.dimension:
        # Without texts nothing speaks against it.
        cosines = (mover.embed(texts) * unit_rows(vectors)).sum(1) if texts else np.ones(1)
        if float(np.median(cosines)) >= _SAME:
            return CollectionMoves(mover, texts=tuple(texts))
    vectors, texts = _with_texts(sample(MAP_TEXTS))
    if len(set(texts)) < MIN_TEXTS:
        raise GuideError(
            f"The collection was filled by another model than {mover.name} moves queries of, and "
            f"only {len(set(texts))} of its sampled rows have a text; {MIN_TEXTS} different ones "
            "are needed to find a map. Store texts with the vectors, or pass instant=None."
        )
    own = mover.embed(texts)
    bridge = fit_bridge(vectors, own, texts, new_model=mover.name)
    _log.info("A map into the space of the collection was fitted: %s", bridge.report)
    return CollectionMoves(
        mover, bridge, (_likeness(own), _likeness(unit_rows(vectors))), tuple(texts)
    )


def _likeness(vectors: FloatArray) -> float:
    """Mean cosine of two different rows of unit length."""
    count = len(vectors)
    total = np.square(vectors.astype(np.float64).sum(0)).sum()
    return float((total - count) / max(1, count * (count - 1)))


def _with_texts(rows: Rows) -> tuple[FloatArray, list[str]]:
    """Vectors and texts of the rows that have one."""
    texts = {i: text for i, text in enumerate(rows.read_texts) if text and text.strip()}
    return rows.vectors[list(texts)], list(texts.values())
