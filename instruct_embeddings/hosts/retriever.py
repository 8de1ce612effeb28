"""What the retrievers of all hosts do alike."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import ConfigError, InstructionError
from instruct_embeddings.explain import Explanation, explain
from instruct_embeddings.hosts.options import SearchOptions
from instruct_embeddings.retrieval import Hit, InstructRetriever
from instruct_embeddings.retrieval.composition import Asked, check_asked
from instruct_embeddings.retrieval.questions import DEFAULT_BLENDS, Relevant
from instruct_embeddings.transform.report import FitReport, QuestionReport
from instruct_embeddings.transform.transform import InstructionTransform


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
        return self.engine.transform(self._one_instruction(instruction, self._search_options()))

    def report(self, instruction: str | None = None) -> FitReport:
        """How good the transform of an instruction is on held-out rows; see `transform_for`."""
        return self.transform_for(instruction).report

    def explain(
        self, query: Any, instruction: str | None = None, *, k: int = 10, sample: int = 1000
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
        instruction: Asked | Sequence[Asked] | None = None,
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
            await self.engine.aprepare(options.instruction, query=text, wait=options.wait)
            return await asyncio.to_thread(options.search, self.engine, vector, text)

    def _embed_queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [self._vector(text) for text in texts]

    def _one_instruction(self, instruction: str | None, options: SearchOptions) -> str:
        asked = options.instruction if instruction is None else instruction
        if isinstance(asked, str):
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


def check_default(asked: Asked | None) -> str | dict[str, float] | None:
    """The default instruction of a retriever: stripped, weights add up to 1.

    Raises:
        InstructionError: See `InstructRetriever.search`.
    """
    if isinstance(asked, Mapping):
        return check_asked(asked)
    return None if asked is None else check_instruction(asked)
