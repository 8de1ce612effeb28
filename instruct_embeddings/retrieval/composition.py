"""Instructions of one search, and several of them as one."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import check_instruction, normal_form
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.retrieval.ranking import RankedBy, Ranker
from instruct_embeddings.transform.transform import Norms
from instruct_embeddings.transform.vectors import unit_rows

Instructions: TypeAlias = str | Mapping[str, float]
"""One instruction, or several with positive weights."""
_MAX_INSTRUCTIONS = 16


@dataclass(frozen=True)
class WeightedRanker:
    """What ranks under one instruction.

    Attributes:
        ranker: A fitted transform, or the instant query.
        ranked_by: What it is; "generic" where the generic vectors have its weight.
        blend: Factor of the blend of the search: what judged questions have chosen, 0 where it is
            not used.
        weight: Its weight among several; all of them add up to 1.
        reused: The instruction it was fitted for, where that is another one.
    """

    ranker: Ranker
    ranked_by: RankedBy
    blend: float = 1.0
    weight: float = 1.0
    reused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Composition:
    """Weighted instructions of one collection that act as one.

    Folded queries are added up before the index is searched, so that there is still one request;
    scores of candidates are added up with the same weights.

    Attributes:
        rankers: At least two.
    """

    rankers: tuple[WeightedRanker, ...]

    @property
    def collection(self) -> CollectionInfo:
        """The collection of all of them."""
        return self.rankers[0].ranker.collection

    @property
    def norms(self) -> Norms:
        """Lengths of the stored vectors."""
        return self.rankers[0].ranker.norms

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine."""
        return all(one.ranker.order_is_exact for one in self.rankers)

    @property
    def mix(self) -> float:
        """The largest weight of a rescoring space; 0 where none rescores."""
        return max(one.ranker.mix for one in self.rankers)

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries, shape (n, d) to unit rows of shape (n, d)."""
        folded = [one.weight * one.ranker.fold(vectors, blend * one.blend) for one in self.rankers]
        return unit_rows(_sum(folded))

    def score(
        self,
        query: FloatArray,
        documents: FloatArray,
        blend: float = 1.0,
        *,
        folded: FloatArray | None = None,
    ) -> FloatArray:
        """Final scores of candidates in [-1, 1], shapes (1, d) and (n, d) to (n,)."""
        del folded  # of all together: each scores by its own
        scores = [
            one.weight * one.ranker.score(query, documents, blend * one.blend)
            for one in self.rankers
        ]
        return _sum(scores)


def compose(rankers: Sequence[WeightedRanker]) -> WeightedRanker:
    """Several rankers as one, whose blends count within it."""
    kinds = {one.ranked_by for one in rankers}
    return WeightedRanker(
        Composition(tuple(rankers)),
        kinds.pop() if len(kinds) == 1 else "mixed",
        reused=tuple(text for one in rankers for text in one.reused),
    )


def _sum(arrays: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.sum(arrays, axis=0), dtype=np.float32)


def check_instructions(asked: Instructions) -> dict[str, float]:
    """Instructions with weights that add up to 1.

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
    texts: dict[str, str] = {}
    weights: dict[str, float] = {}
    for given, weight in asked.items():
        text = check_instruction(given)
        if (other := texts.setdefault(normal_form(text), given)) is not given:
            raise InstructionError(
                f"{other!r} and {given!r} are one instruction: case, spacing and end marks do not "
                "count. Keep one of them."
            )
        if not _is_weight(weight):
            raise InstructionError(
                f"The weight of {given!r} is {shown(weight)}, not a positive number of at most "
                "1.8e308. Give each instruction a weight such as 0.5, or leave it out."
            )
        weights[text] = float(weight)
    # The largest is made 1 first: sums of large numbers are infinite. None becomes 0.
    largest, least = max(weights.values()), sys.float_info.min
    scaled = {text: max(weight / largest, least) for text, weight in weights.items()}
    total = sum(scaled.values())
    return {text: weight / total for text, weight in scaled.items()}


def _is_weight(weight: object) -> bool:
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        return False
    return 0 < weight <= sys.float_info.max
