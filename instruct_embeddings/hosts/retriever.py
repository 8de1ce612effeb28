"""What the retrievers of all hosts do alike: options of a search, and what is done with them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Unset, Where
from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import (
    Instruction,
    Instructions,
    at_least,
    check_instruction,
    check_instructions,
    examples_in,
    optional_instruction,
    suggesting,
)
from instruct_embeddings.errors import ConfigError, InstructionError
from instruct_embeddings.explain import Explanation, explain
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval import Hit, InstructRetriever, JudgeWatcher, judge_watched
from instruct_embeddings.retrieval.questions import DEFAULT_BLENDS, Relevant
from instruct_embeddings.transform.report import FitReport, QuestionReport
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows

# As many candidates as LangChain's vector stores take, or more where more results are wanted.
_MMR_CANDIDATES, _MMR_CANDIDATES_PER_RESULT = 20, 5
# Options that cannot be None for one call: there None stands for the option of the retriever.
_NEVER_LIFTED = ("k", "blend", "wait", "judge")


@suggesting
@dataclass(frozen=True)
class SearchOptions:
    """How a retriever searches, and how one call wants it otherwise.

    Attributes:
        k: Number of results.
        instruction: A plain sentence, one with examples (`Instruction`), or several with weights;
            None is the generic search.
        where: Filter on metadata.
        where_document: Filter on texts.
        blend: Weight of the adapted score, from 0 (generic) to 1 (adapted); None is what judged
            questions have chosen, 1 without any.
        prefetch: Candidates that are fetched and rescored; None chooses.
        exact: Rank all vectors instead of asking the index, for evaluation and small collections.
        wait: Wait for the fit of a new instruction, rather than let the instant query answer.
        judge: Ask the judge of the retriever's `feedback`, where there is one.
        score_threshold: Least score of a result, in [-1, 1]; fewer than `k` may come back.
        lambda_mult: Maximal marginal relevance, so that copies of one text do not fill the
            results: 1 looks at scores alone, 0 only at how different results are. None keeps the
            order of the scores.
        fetch_k: Candidates of maximal marginal relevance; by default 20, or 5 for each result.

    Raises:
        ConfigError: A number is out of its range.
    """

    k: int = 4
    instruction: Instructions | None = None
    where: Where | None = None
    where_document: Where | None = None
    blend: float | None = None
    prefetch: int | None = None
    exact: bool = False
    wait: bool = False
    judge: bool = True
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

        So does None for `k`, `blend`, `wait` and `judge`; for the others it lifts the option.
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
        hits = engine.search(np.asarray(vector, dtype=np.float32), **self._arguments(query))
        return self.choose(hits, engine.collection)

    async def asearch(
        self, engine: InstructRetriever, vector: ArrayLike, query: str | None
    ) -> list[Hit]:
        """The same without blocking the event loop."""
        row = np.asarray(vector, dtype=np.float32)
        hits = await engine.asearch(row, **self._arguments(query))
        if self.lambda_mult is None:
            return self.choose(hits, engine.collection)
        return await asyncio.to_thread(self.choose, hits, engine.collection)

    def _arguments(self, query: str | None) -> dict[str, Any]:
        return {
            "query": query,
            "instruction": self.instruction,
            "k": self.candidates(),
            "where": self.where,
            "where_document": self.where_document,
            "blend": self.blend,
            "prefetch": self.prefetch,
            "exact": self.exact,
            "wait": self.wait,
            "judge": self.judge,
        }

    def candidates(self) -> int:
        """Hits to ask for: several for each result that maximal marginal relevance chooses."""
        if self.lambda_mult is None:
            return self.k
        wanted = self.fetch_k or max(_MMR_CANDIDATES, _MMR_CANDIDATES_PER_RESULT * self.k)
        return max(self.k, wanted if self.prefetch is None else min(wanted, self.prefetch))

    def choose(self, hits: Sequence[Hit], collection: VectorCollection) -> list[Hit]:
        """The `k` hits that are shown, of candidates in the order of their scores."""
        wanted = {"score_threshold": self.score_threshold, "lambda_mult": self.lambda_mult}
        asked = [name for name, value in wanted.items() if value is not None]
        if asked and not collection.capabilities.vectors:
            raise ConfigError(
                f"{asked[0]}={wanted[asked[0]]!r} cannot be obeyed: this store gives neither "
                "vectors nor scores back. Both are needed to compare results. Leave it out; or "
                "pass a collection whose vectors can be read, such as StoreVectors(store, "
                "rescore=True)."
            )
        lowest = self.score_threshold
        near = list(hits) if lowest is None else [hit for hit in hits if hit.score >= lowest]
        if self.lambda_mult is None or len(near) < 2:
            return near[: self.k]
        rows = collection.fetch([hit.id for hit in near], vectors=True)
        by_id = {hit.id: hit for hit in near}
        found = [by_id[row] for row in rows.ids]
        scores = np.array([hit.score for hit in found], dtype=np.float32)
        order = _mmr_order(scores, unit_rows(rows.vectors), self.lambda_mult, self.k)
        return [found[position] for position in order]


class HostRetriever:
    """Base of the retrievers of a host, beside the host's own base class.

    A subclass has an `engine` and overrides `_search_options`, `_read_query`, `_vector` and
    `_avector`.
    """

    if TYPE_CHECKING:  # at run time a field of the one host, an attribute in the other
        engine: InstructRetriever

    def transform_for(self, instruction: str | None = None) -> InstructionTransform:
        """The transform of an instruction; fits it now if it is not known yet.

        Call it ahead of the first query to prepare an instruction.

        Args:
            instruction: The instruction; None takes the retriever's own.

        Raises:
            InstructionError: There is none, or there are several.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        asked = self._one_instruction(instruction, self._search_options())
        return self.engine.transform(check_instruction(asked))

    def report(self, instruction: str | None = None) -> FitReport:
        """How good the transform of an instruction is on held-out rows; see `transform_for`."""
        return self.transform_for(instruction).report

    def explain(
        self,
        query: Any,
        instruction: str | Instruction | None = None,
        *,
        k: int = 10,
        sample: int = 1000,
        label_key: str | None = None,
    ) -> Explanation:
        """What an instruction does to a query: which results move, and why.

        `print` shows it as tables. With a guide the instruction is fitted first where it is not
        known, and `draw("map.png")` gives a picture of `sample` rows; without one the instant query
        is explained. Constraints ("only", "no") are listed with what becomes of them, and with the
        filter on metadata that would answer them exactly, where there is one.

        Args:
            query: A text, or what the host takes for a query.
            instruction: The instruction; None takes that of the query or of the retriever.
            k: Results of each search.
            sample: Rows of the collection that categories and map are made of.
            label_key: Metadata key of true labels, which are shown and colour the map.

        Raises:
            InstructionError: There is no instruction, or there are several.
            GuideError: The instruction has to be fitted and cannot be.
        """
        text, options = self._read_query(query)
        return explain(
            self.engine,
            self._vector(query),
            text or "",
            self._one_instruction(instruction, options),
            k=k,
            sample=sample,
            label_key=label_key,
            where=options.where,
            where_document=options.where_document,
            blend=options.blend,
            prefetch=options.prefetch,
            exact=options.exact,
        )

    def evaluate(
        self,
        queries: Sequence[str] | Mapping[str, str],
        relevant: Relevant,
        *,
        instruction: Instructions | Sequence[Instructions] | None = None,
        k: int = 10,
        blends: Sequence[float] = DEFAULT_BLENDS,
        seed: int = 0,
        **filters: Any,
    ) -> QuestionReport:
        """Does the instruction help these questions? Generic beside adapted, at several blends.

            print(retriever.evaluate(["it ate my photos"], [["ticket-17", "ticket-3"]]))

        Args:
            queries: What users ask; or a mapping from ids of queries to what they ask.
            relevant: Ids of the rows that answer each query, aligned with `queries`; or by the
                query or its id; or with grades, `{query_id: {row_id: grade}}`.
            instruction: One for all, or one for each query; None takes the retriever's own.
            k: Results looked at for each query.
            blends: Weights of the adapted score to try.
            seed: Seed of the bootstrap.
            filters: The host's filters, as in a call; by default the retriever's own.

        Raises:
            ConfigError: Queries and relevant do not fit together, or none of the relevant ids is in
                the collection.
            InstructionError: There is no instruction.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        options = self._search_options(**filters)
        return self.engine.evaluate(
            queries,
            relevant,
            instruction=options.instruction if instruction is None else instruction,
            k=k,
            blends=blends,
            where=options.where,
            where_document=options.where_document,
            prefetch=options.prefetch,
            exact=options.exact,
            seed=seed,
            embed=self._embed_queries,
        )

    def _search_options(self, **call: Any) -> SearchOptions:
        """The retriever's options with those of a call, in the words of the host."""
        raise NotImplementedError

    def _read_query(self, query: Any, **call: Any) -> tuple[str | None, SearchOptions]:
        """Text of a query, and the options of its search."""
        raise NotImplementedError

    def _vector(self, query: Any) -> Sequence[float]:
        """Generic vector of a query."""
        raise NotImplementedError

    async def _avector(self, query: Any) -> Sequence[float]:
        """The same without blocking the event loop."""
        raise NotImplementedError

    def _search(self, query: Any, **call: Any) -> list[Hit]:
        text, options = self._read_query(query, **call)
        return options.search(self.engine, self._vector(query), text)

    async def _asearch(self, query: Any, **call: Any) -> list[Hit]:
        text, options = self._read_query(query, **call)
        with from_here():
            vector = await self._avector(query)
            return await options.asearch(self.engine, vector, text)

    def _judge_watched(
        self, watcher: Callable[..., JudgeWatcher], *parts: Any
    ) -> AbstractContextManager[None]:
        """Asks a judge through the host's watcher of these parts; where there is none, nothing."""
        return nullcontext() if self.engine.feedback is None else judge_watched(watcher(*parts))

    def _embed_queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [self._vector(text) for text in texts]

    def _one_instruction(
        self, instruction: str | Instruction | None, options: SearchOptions
    ) -> str | Instruction:
        asked = options.instruction if instruction is None else instruction
        if isinstance(asked, str | Instruction):
            return asked
        raise InstructionError(
            f"One instruction is needed, a plain sentence, got {asked!r}. "
            'Pass one such as "What programming language is it written in?".'
        )


def check_query(query: object) -> str:
    """The text of a query.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(query, str):
        return query
    raise ConfigError(
        f"The query is {query!r:.60}, of type {type(query).__name__}, and a text is needed. "
        'Pass a string such as "it ate my photos".'
    )


def check_default(asked: Instructions | None) -> Instructions | None:
    """The default instruction of a retriever: stripped, weights add up to 1, examples kept.

    Raises:
        InstructionError: See `InstructRetriever.search`.
    """
    if isinstance(asked, Mapping):
        examples = examples_in(asked)
        return {examples.get(text, text): one for text, one in check_instructions(asked).items()}
    return asked if isinstance(asked, Instruction) else optional_instruction(asked)


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
