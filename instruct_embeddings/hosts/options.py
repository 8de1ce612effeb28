"""Options of one search, and what they choose of its candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Unset, Where
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.composition import Asked
from instruct_embeddings.retrieval.ranking import Hit
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.transform.vectors import unit_rows

# As many candidates as LangChain's vector stores take, or more where more results are wanted.
_MMR_CANDIDATES, _MMR_CANDIDATES_PER_RESULT = 20, 5
# Options that cannot be None for one call: there None stands for the option of the retriever.
_NEVER_LIFTED = ("k", "blend", "wait")


@dataclass(frozen=True)
class SearchOptions:
    """How a retriever searches, and how one call wants it otherwise.

    Attributes:
        k: Number of results.
        instruction: A plain sentence, or several with weights; None is the generic search.
        where: Filter on metadata.
        where_document: Filter on texts.
        blend: Weight of the adapted score, from 0 (generic) to 1 (adapted); None is what judged
            questions have chosen, 1 without any.
        prefetch: Candidates that are fetched and rescored; None chooses.
        exact: Rank all vectors instead of asking the index, for evaluation and small collections.
        wait: Wait for the fit of a new instruction, rather than let the instant query answer.
        score_threshold: Least score of a result, in [-1, 1]; fewer than `k` may come back.
        lambda_mult: Maximal marginal relevance, so that copies of one text do not fill the
            results: 1 looks at scores alone, 0 only at how different results are. None keeps the
            order of the scores.
        fetch_k: Candidates of maximal marginal relevance; by default 20, or 5 for each result.

    Raises:
        ConfigError: A number is out of its range.
    """

    k: int = 4
    instruction: Asked | None = None
    where: Where | None = None
    where_document: Where | None = None
    blend: float | None = None
    prefetch: int | None = None
    exact: bool = False
    wait: bool = False
    score_threshold: float | None = None
    lambda_mult: float | None = None
    fetch_k: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", at_least("k", self.k, 1, optional=False))
        fetch_k = at_least("fetch_k (mmr_prefetch_k)", self.fetch_k, 1)
        object.__setattr__(self, "fetch_k", fetch_k)
        hint = "Scores are similarities in that range."
        _check_range("score_threshold (similarity_cutoff)", self.score_threshold, -1.0, hint)
        _check_range("lambda_mult (mmr_threshold)", self.lambda_mult, 0.0, "0.5 is usual.")

    def changed(self, **changes: Any) -> "SearchOptions":
        """These options with those of a call; `UNSET` leaves an option as it is.

        So does None for `k`, `blend` and `wait`; for the others it lifts the option.
        """
        kept = {
            name: value
            for name, value in changes.items()
            if not isinstance(value, Unset) and not (value is None and name in _NEVER_LIFTED)
        }
        return replace(self, **kept)

    def search(self, engine: InstructRetriever, vector: ArrayLike, query: str | None) -> list[Hit]:
        """Search with these options.

        Args:
            engine: What searches.
            vector: Generic vector of the query, shape (d,).
            query: Its text, where it is known.

        Raises:
            InstructEmbeddingsError: See `InstructRetriever.search`.
        """
        hits = engine.search(
            np.asarray(vector, dtype=np.float32),
            query=query,
            instruction=self.instruction,
            k=self.candidates(),
            where=self.where,
            where_document=self.where_document,
            blend=self.blend,
            prefetch=self.prefetch,
            exact=self.exact,
            wait=self.wait,
        )
        return self.choose(hits, engine.collection)

    def candidates(self) -> int:
        """Hits to ask for: several for each result that maximal marginal relevance chooses."""
        if self.lambda_mult is None:
            return self.k
        wanted = self.fetch_k or max(_MMR_CANDIDATES, _MMR_CANDIDATES_PER_RESULT * self.k)
        return max(self.k, wanted if self.prefetch is None else min(wanted, self.prefetch))

    def choose(self, hits: Sequence[Hit], collection: VectorCollection) -> list[Hit]:
        """The `k` hits that are shown, of candidates in the order of their scores."""
        lowest = -np.inf if self.score_threshold is None else self.score_threshold
        near = [hit for hit in hits if hit.score >= lowest]
        if self.lambda_mult is None or len(near) < 2:
            return near[: self.k]
        rows = collection.fetch([hit.id for hit in near], vectors=True)
        by_id = {hit.id: hit for hit in near}
        found = [by_id[row] for row in rows.ids]
        scores = np.array([hit.score for hit in found], dtype=np.float32)
        order = _mmr_order(scores, unit_rows(rows.vectors), self.lambda_mult, self.k)
        return [found[position] for position in order]


def _mmr_order(scores: FloatArray, units: FloatArray, lambda_mult: float, k: int) -> list[int]:
    """Positions in the order of maximal marginal relevance (Carbonell and Goldstein, 1998).

    Of equals the one that is least like those before, so that a copy never wins.

    Args:
        scores: Similarity of each candidate to the query, shape (n,).
        units: Stored vectors of the candidates, shape (n, d).
        lambda_mult: Weight of the score.
        k: Positions wanted.
    """
    likeness = units @ units.T  # (n, n)
    order = [int(np.argmax(scores))]
    nearest = likeness[order[0]].copy()
    while len(order) < min(k, len(scores)):
        value = lambda_mult * scores - (1 - lambda_mult) * nearest
        rest = [position for position in range(len(scores)) if position not in order]
        best = max(rest, key=lambda at: (round(float(value[at]), 5), -nearest[at]))
        order.append(best)
        nearest = np.maximum(nearest, likeness[best])
    return order


def _check_range(name: str, value: float | None, lowest: float, hint: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and lowest <= value <= 1.0):
        raise ConfigError(f"{name}={value!r} is not a number in [{lowest:g}, 1]. {hint}")
