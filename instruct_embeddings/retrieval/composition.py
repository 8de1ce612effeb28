"""Several instructions in one search."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import check_instruction, normalise_instruction
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.retrieval.hits import RankedBy
from instruct_embeddings.retrieval.instant import InstantRanker
from instruct_embeddings.transform.transform import InstructionTransform, Norms
from instruct_embeddings.transform.vectors import unit_rows

Asked: TypeAlias = str | Mapping[str, float]
_MAX_INSTRUCTIONS = 16


@dataclass(frozen=True)
class Part:
    """One instruction of a composition.

    Attributes:
        transform: Ranks under it: a fitted transform, or the instant query.
        weight: Its share; those of all parts add up to 1.
        asked: The instruction that was asked for.
        adapts: Whether it is used; otherwise the generic vectors have its share.
        blend: Share of the adapted score in it, where judged questions have chosen one.
    """

    transform: InstructionTransform | InstantRanker
    weight: float
    asked: str
    adapts: bool = True
    blend: float = 1.0

    @property
    def ranked_by(self) -> RankedBy:
        """What ranks under it."""
        if not self.adapts:
            return "generic"
        return "instant" if isinstance(self.transform, InstantRanker) else "fitted"

    def fold(self, vectors: FloatArray, blend: float) -> FloatArray:
        """Its share of folded queries, shape (n, d) to (n, d)."""
        return self.weight * self.transform.fold(vectors, self._share(blend))

    def score(self, query: FloatArray, documents: FloatArray, blend: float) -> FloatArray:
        """Its share of the scores, shapes (1, d) and (n, d) to (n,)."""
        return self.weight * self.transform.score(query, documents, self._share(blend))

    def _share(self, blend: float) -> float:
        return blend * self.blend if self.adapts else 0.0


@dataclass(frozen=True)
class Composition:
    """Weighted instructions of one collection that act as one.

    Folded queries are added up before the index is asked, so that there is still one request;
    scores of candidates are added up with the same weights.

    Attributes:
        parts: At least one.
    """

    parts: tuple[Part, ...]

    @property
    def collection(self) -> CollectionInfo:
        """The collection of all of them."""
        return self.parts[0].transform.collection

    @property
    def norms(self) -> Norms:
        """Lengths of the stored vectors."""
        return self.parts[0].transform.norms

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine."""
        return all(part.transform.order_is_exact for part in self.parts)

    @property
    def mix(self) -> float:
        """The largest share of a rescoring space; 0 where none rescores."""
        return max(part.transform.mix for part in self.parts)

    @property
    def ranked_by(self) -> RankedBy:
        """What ranks: that of all parts, or "mixed" where they differ."""
        kinds = {part.ranked_by for part in self.parts}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def reused(self) -> tuple[str, ...]:
        """Instructions whose transforms serve for others that mean the same."""
        pairs = [(part.transform.instruction, part.asked) for part in self.parts]
        return tuple(
            own
            for own, asked in pairs
            if normalise_instruction(own) != normalise_instruction(asked)
        )

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries, shape (n, d) to unit rows of shape (n, d)."""
        return unit_rows(_sum([part.fold(vectors, blend) for part in self.parts]))

    def score(self, query: FloatArray, documents: FloatArray, blend: float = 1.0) -> FloatArray:
        """Final scores of candidates in [-1, 1], shapes (1, d) and (n, d) to (n,)."""
        return _sum([part.score(query, documents, blend) for part in self.parts])


def _sum(arrays: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.sum(arrays, axis=0), dtype=np.float32)


def check_asked(asked: Asked) -> dict[str, float]:
    """Instructions with weights that add up to 1.

    Args:
        asked: One instruction, or several with positive weights.

    Raises:
        InstructionError: There is none, there are more than 16, two mean the same, or a weight is
            not a positive number.
    """
    if not isinstance(asked, Mapping):
        return {check_instruction(asked): 1.0}
    if not 1 <= len(asked) <= _MAX_INSTRUCTIONS:
        raise InstructionError(
            f"Got {len(asked)} instructions; 1 to {_MAX_INSTRUCTIONS} can be combined. "
            'Pass {"What problem is reported?": 0.7, "How urgent is it?": 0.3}.'
        )
    forms: dict[str, str] = {}
    for text, weight in asked.items():
        if (other := forms.setdefault(normalise_instruction(text), text)) is not text:
            raise InstructionError(
                f"{other!r} and {text!r} are one instruction: case, spacing and end marks do not "
                "count. Keep one of them."
            )
        if not _is_weight(weight):
            raise InstructionError(
                f"The weight of {text!r} is {shown(weight)}, not a positive number of at most "
                "1.8e308. Give each instruction a weight such as 0.5, or leave it out."
            )
    # The largest is made 1 first: sums of large numbers are infinite. None becomes 0.
    largest, least = float(max(asked.values())), sys.float_info.min
    shares = {text: max(float(weight) / largest, least) for text, weight in asked.items()}
    total = sum(shares.values())
    return {check_instruction(text): share / total for text, share in shares.items()}


def _is_weight(weight: object) -> bool:
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        return False
    return 0 < weight <= sys.float_info.max
