"""`InstructionTransformRetriever`: one Chroma-backed index, a different question at every call."""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores.types import BasePydanticVectorStore, MetadataFilters
from typing_extensions import Self

from instruct_embeddings._arguments import given
from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain import explain
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.protocols import Guide, InstantMover
from instruct_embeddings.retrieval.answering import DEFAULT_BLENDS
from instruct_embeddings.retrieval.choosing import Choice
from instruct_embeddings.retrieval.composition import Asked, check_default, one_instruction
from instruct_embeddings.retrieval.progress import OnFit
from instruct_embeddings.retrieval.questions import Questions, Relevant
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.transform.report import FitReport, QuestionReport
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from llama_index_instruct_embeddings.bundle import InstructionQueryBundle
from llama_index_instruct_embeddings.engine import build_engine, check_shared
from llama_index_instruct_embeddings.filters import to_where
from llama_index_instruct_embeddings.nodes import to_nodes
from llama_index_instruct_embeddings.source import find_source

# What an evaluation shares with the searches of a retriever.
_FOUND_BY = ("where", "where_document", "prefetch", "exact")


class InstructionTransformRetriever(BaseRetriever):
    """Retriever that asks the vectors of an existing Chroma collection different questions.

    The generic vectors that the collection holds are adapted to an instruction, a plain sentence
    that says in what respect texts should be similar. Nothing is re-encoded and nothing in the
    collection changes. The first query under a new instruction learns from a sample of the
    collection (seconds); every later one takes milliseconds.

    Scores are similarities in [-1, 1] where higher is closer: the adapted cosine, or the generic
    similarity in a search without an instruction (`ChromaVectorStore` gives `exp(-distance)`).

    Setup:
        `pip install "instruct-embeddings[llama-index]"`

    Key init args:
        index:
            `VectorStoreIndex` over a `ChromaVectorStore`; or `vector_store` and `embed_model`.
        guide:
            Where supervision comes from: `EncoderGuide()` needs no labels.
        instruction:
            Instruction of queries that carry none; `None` is the generic search.
        similarity_top_k:
            Number of nodes wanted.
        store:
            Directory where fitted transforms are kept and found again.

        All of them: below.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide
        from llama_index_instruct_embeddings import InstructionTransformRetriever

        retriever = InstructionTransformRetriever(index, guide=EncoderGuide(), store="transforms")
        ```

    Usage:
        ```python
        from llama_index_instruct_embeddings import InstructionQueryBundle

        nodes = retriever.with_instruction("What is it for?").retrieve("image viewer")
        asked = InstructionQueryBundle("image viewer", instruction="What interface does it have?")
        nodes = retriever.retrieve(asked)
        ```

    Async:
        ```python
        nodes = await retriever.aretrieve(asked)
        ```

    Use within a query engine:
        ```python
        from llama_index.core.query_engine import RetrieverQueryEngine

        answer = RetrieverQueryEngine.from_args(retriever).query(asked)
        ```
    """

    def __init__(
        self,
        index: VectorStoreIndex | None = None,
        *,
        vector_store: BasePydanticVectorStore | None = None,
        embed_model: BaseEmbedding | None = None,
        guide: Guide | None = None,
        instant: InstantMover | bool | None = True,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        instruction: Asked | None = None,
        filters: MetadataFilters | None = None,
        where_document: dict[str, Any] | None = None,
        blend: float | None = None,
        prefetch: int | None = None,
        exact: bool = False,
        wait: bool = False,
        similarity_cutoff: float | None = None,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        store: TransformStore | str | Path | None = None,
        fit: FitConfig | None = None,
        force: bool = False,
        reuse: float | None = None,
        questions: Questions | None = None,
        on_fit: OnFit | None = None,
        engine: InstructRetriever | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        """Make a retriever; nothing is fitted yet.

        Args:
            index: Index over a `ChromaVectorStore`; or give `vector_store` and `embed_model`.
            vector_store: `ChromaVectorStore`, instead of an index.
            embed_model: Model of the query vectors: the one that made the stored vectors. Taken
                from the index where there is one.
            guide: Where supervision of a transform comes from: `MetadataGuide("language")` takes
                labels, `EncoderGuide()` needs none. None: the instant query, and what is in
                `store`.
            instant: What answers at once, while a transform is fitted: True takes the one that
                comes with the package. None: the first query under a new instruction waits.
            similarity_top_k: Number of nodes wanted.
            instruction: Instruction of queries that carry none, or several with weights; `None`
                is the generic search.
            filters: Metadata filters, nested `and` and `or` included.
            where_document: Chroma's filter on texts, such as `{"$contains": "viewer"}`.
            blend: Share of the adapted score, from 0 (generic) to 1 (adapted); `None` is what
                judged questions have chosen, 1 without any.
            prefetch: Candidates that are fetched and rescored; `None` chooses.
            exact: Rank all vectors instead of asking the index, for evaluation.
            wait: Wait for the fit of an instruction that is not known yet, rather than to let the
                instant query answer meanwhile.
            similarity_cutoff: Least score of a node, in [-1, 1]; fewer may come back.
            mmr_threshold: Maximal marginal relevance, so that copies of one text do not fill the
                results: 1 looks at scores alone, 0 only at how different nodes are. `None` keeps
                the plain order.
            mmr_prefetch_k: Candidates for that; by default 20, or 5 for each node wanted.
            store: `TransformStore` or directory where fitted transforms are kept and found again.
            fit: Sample size, folds, seed and time budget of fitting.
            force: Use a transform that does not beat the generic vectors on held-out rows.
            reuse: Least agreement, such as 0.925, at which the transform of another instruction
                serves that means the same for the texts of the collection;
                `transform_for(...).instruction` says whose. `None` never does that.
            questions: Judged questions, texts with the ids of the nodes that answer them. With
                them, the choice between generic, blend and adapted is made on them.
            on_fit: Called with a `FitEvent` (instruction, stage, done, total, seconds) at each step
                of a fit, in the thread that fits.
            engine: Engine of another retriever over the same collection, whose fits are shared;
                instead of `guide`, `store`, `fit`, `force`, `reuse`, `questions` and `on_fit`,
                which it has already.
            callback_manager: Callbacks; the index's own where there is one.
            object_map: Objects that index nodes lead to; the index's own where there is one.
            verbose: Print recursive retrieval, as every LlamaIndex retriever.

        Raises:
            ConfigError: Arguments are missing, incomplete or contradict each other, or the
                filters cannot be expressed in Chroma.
            CollectionMismatchError: The engine was made for another collection.
            InstructionError: The instruction is empty or too long.
            UnsupportedCollectionError: The vector store is not backed by Chroma.
        """
        source = find_source(index, vector_store, embed_model)
        self._embed_model = source.embed_model
        self._docstore = source.docstore
        if engine is None:
            asked = questions and questions.embedded_by(self._embed_queries)
            engine = build_engine(
                source.vector_store, guide, instant, store, fit, force, reuse, asked, on_fit
            )
        elif force or any(
            part is not None for part in (guide, store, fit, reuse, questions, on_fit)
        ):
            raise ConfigError(
                "Got engine= together with guide, store, fit, force, reuse, questions or on_fit. "
                "A shared engine has its own. Pass either the engine or the others."
            )
        else:
            check_shared(engine, source.vector_store)
        self._engine = engine
        self._instruction = check_default(instruction)
        self._options: dict[str, Any] = {
            "where": to_where(filters),
            "where_document": where_document,
            "blend": blend,
            "prefetch": prefetch,
            "exact": exact,
        }
        self._wait = wait
        self._choice = Choice(similarity_top_k, similarity_cutoff, mmr_threshold, mmr_prefetch_k)
        super().__init__(
            callback_manager=callback_manager or source.callback_manager,
            object_map=object_map or source.object_map,
            verbose=verbose,
        )

    @property
    def engine(self) -> InstructRetriever:
        """The engine, with what it has fitted; pass it on to share the fits."""
        return self._engine

    @property
    def instruction(self) -> Asked | None:
        """Instruction of queries that carry none."""
        return self._instruction

    @property
    def similarity_top_k(self) -> int:
        """Number of nodes wanted."""
        return self._choice.k

    @similarity_top_k.setter
    def similarity_top_k(self, value: int) -> None:
        self._choice = replace(self._choice, k=value)

    def with_instruction(self, instruction: Asked | None) -> Self:
        """A copy with another instruction that shares the engine, so nothing is fitted twice."""
        other = copy.copy(self)
        other._instruction = check_default(instruction)
        return other

    def transform_for(self, instruction: str | None = None) -> InstructionTransform:
        """The transform of an instruction; fits it now if it is not known yet.

        Call it ahead of the first query to prepare an instruction.

        Args:
            instruction: The instruction; `None` takes the retriever's own.

        Raises:
            InstructionError: There is none.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        asked = self._instruction if instruction is None else instruction
        return self._engine.transform(one_instruction(asked))

    def report(self, instruction: str | None = None) -> FitReport:
        """How good the transform of an instruction is on held-out rows; see `transform_for`."""
        return self.transform_for(instruction).report

    def explain(
        self, query: QueryType, instruction: str | None = None, *, k: int = 10, sample: int = 1000
    ) -> Explanation:
        """What an instruction, by default its own, does to a query: which results move, and why.

        `print` shows it as tables. With a guide the instruction is fitted first where it is not
        known, and `draw("map.png")` gives a picture of `sample` rows; without one the instant query
        is explained. Constraints ("only", "no") are listed with what becomes of them, and with the
        filter on metadata that would answer them exactly, where there is one.
        """
        bundle = QueryBundle(query) if isinstance(query, str) else query
        asked = self._instruction_of(bundle) if instruction is None else instruction
        options = self._options_of(bundle) | {"k": k, "instruction": asked}
        vector = self._embedded(bundle)
        return explain(self._engine, vector, bundle.query_str, sample=sample, **options)

    def evaluate(
        self,
        queries: Sequence[str] | Mapping[str, str],
        relevant: Relevant,
        *,
        instruction: Asked | Sequence[Asked] | None = None,
        k: int = 10,
        blends: Sequence[float] = DEFAULT_BLENDS,
        filters: MetadataFilters | None = None,
        seed: int = 0,
    ) -> QuestionReport:
        """Does the instruction help these questions? Generic beside adapted, at several blends.

            print(retriever.evaluate(["it ate my photos"], [["node-17", "node-3"]]))

        Args:
            queries: What users ask; or a mapping from ids of queries to what they ask.
            relevant: Ids of the nodes that answer each query, aligned with `queries`; or by the
                query or its id; or with grades, `{query_id: {node_id: grade}}`.
            instruction: One for all, or one for each query; `None` takes the retriever's own.
            k: Results looked at for each query.
            blends: Shares of the adapted score to try.
            filters: Metadata filters; `None` takes the retriever's own.
            seed: Seed of the bootstrap.

        Raises:
            ConfigError: Queries and relevant do not fit together, or none of the relevant ids is in
                the collection.
            InstructionError: There is no instruction.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        own = {name: self._options[name] for name in _FOUND_BY}
        if filters is not None:
            own["where"] = to_where(filters)
        return self._engine.evaluate(
            queries,
            relevant,
            instruction=self._instruction if instruction is None else instruction,
            k=k,
            blends=blends,
            seed=seed,
            embed=self._embed_queries,
            **own,
        )

    def _embed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._embed_model.get_agg_embedding_from_queries([text]) for text in texts]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(self._embedded(query_bundle), query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        instruction = self._instruction_of(query_bundle)
        with from_here():
            vector = query_bundle.embedding
            if vector is None:
                strings = _strings(query_bundle)
                vector = await self._embed_model.aget_agg_embedding_from_queries(strings)
            text = query_bundle.query_str or None
            await self._engine.aprepare(instruction, query=text, wait=self._wait)
            return await asyncio.to_thread(self._search, vector, query_bundle)

    def _embedded(self, query_bundle: QueryBundle) -> list[float]:
        if query_bundle.embedding is not None:
            return query_bundle.embedding
        return self._embed_model.get_agg_embedding_from_queries(_strings(query_bundle))

    def _instruction_of(self, query_bundle: QueryBundle) -> Asked | None:
        if isinstance(query_bundle, InstructionQueryBundle):
            return given(query_bundle.instruction, self._instruction)
        return self._instruction

    def _options_of(self, query_bundle: QueryBundle) -> dict[str, Any]:
        if isinstance(query_bundle, InstructionQueryBundle):
            return query_bundle.options(self._options)
        return self._options

    def _choice_of(self, query_bundle: QueryBundle) -> Choice:
        if isinstance(query_bundle, InstructionQueryBundle):
            return query_bundle.choice(self._choice)
        return self._choice

    def _search(self, vector: Sequence[float], query_bundle: QueryBundle) -> list[NodeWithScore]:
        options = self._options_of(query_bundle)
        choice = self._choice_of(query_bundle)
        options = options | {
            "k": choice.wanted(options["prefetch"]),
            "query": query_bundle.query_str or None,
            "instruction": self._instruction_of(query_bundle),
            "wait": self._wait,
        }
        hits = self._engine.search(np.asarray(vector, dtype=np.float32), **options)
        return to_nodes(choice.of(hits, self._engine.collection), self._docstore)


def _strings(query_bundle: QueryBundle) -> list[str]:
    strings = query_bundle.embedding_strs
    if not strings:
        raise ConfigError(
            "The query is empty, so there is nothing to embed. Pass a text, "
            "custom_embedding_strs or an embedding."
        )
    return strings
