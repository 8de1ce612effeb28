"""An instant query without weights, in the space of the tiny encoder."""

from collections.abc import Callable, Sequence

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.instant.query import CollectionMoves, find_space
from instruct_embeddings.protocols import Rows
from instruct_embeddings.testing import TinyEncoder


class TinyInstant:
    """Moves every query towards the words of the instruction.

    Attributes:
        asked: The instructions it was asked under.
    """

    name = "tiny-instant"
    dimension = TinyEncoder.dimension

    def __init__(self, length: float = 2.0) -> None:
        self.length = length
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return TinyEncoder().encode(texts)

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        self.asked.append(instruction)
        towards = np.float32(self.length) * self.embed([instruction])
        return np.repeat(towards, len(queries), axis=0)

    def for_collection(self, sample: Callable[[int], Rows]) -> CollectionMoves:
        return find_space(self, sample)
