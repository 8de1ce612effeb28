"""How LlamaIndex searches: options that a query may override, and the calls."""

import asyncio
import copy
from dataclasses import replace
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType
from typing_extensions import Self

from instruct_embeddings import InstructRetriever
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import (
    UNSET,
    HostRetriever,
    Instructions,
    SearchOptions,
    check_default,
    check_query,
    check_shared,
    open_engine,
)
from instruct_embeddings.stores import collection_behind
from llama_index_instruct_embeddings.nodes import to_nodes
from llama_index_instruct_embeddings.query import InstructionQueryBundle, to_where, with_arguments
from llama_index_instruct_embeddings.tool import ToolRetriever
from llama_index_instruct_embeddings.tracing import judge_event


class NodeRetriever(HostRetriever, ToolRetriever):
    """Searches with its own options, or as an `InstructionQueryBundle` says otherwise."""

    def __init__(
        self,
        source: tuple[VectorStoreIndex | None, Any, BaseEmbedding | None],
        options: SearchOptions,
        callback_manager: CallbackManager | None,
        object_map: dict[str, Any] | None,
        verbose: bool,
    ) -> None:
        """Take from an index what is not given, or a vector store and the model that filled it."""
        index, vector_store, embed_model = source
        known = isinstance(index, VectorStoreIndex | None)
        if not known or (index is None) == (vector_store is None):
            raise ConfigError(
                f"Got index={index!r:.200} and vector_store={vector_store!r:.200}; exactly one is "
                "wanted. Pass a VectorStoreIndex, or a vector store such as "
                "vector_store=ChromaVectorStore(...) with embed_model=..."
            )
        host: Any = index and index.as_retriever()
        embed_model = embed_model or (host and host._embed_model)
        if not isinstance(embed_model, BaseEmbedding):
            raise ConfigError(
                f"embed_model={embed_model!r} cannot embed a query. It has to be the BaseEmbedding "
                "that made the stored vectors, for example embed_model=Settings.embed_model."
            )
        self._embed_model, self._docstore = embed_model, index.docstore if index else None
        self._vector_store = index.vector_store if index else vector_store
        self._options = replace(options, instruction=check_default(options.instruction))
        super().__init__(
            callback_manager=callback_manager or (host and host.callback_manager),
            object_map=object_map or (host and host.object_map),
            verbose=verbose,
        )

    def _engine(
        self, shared: InstructRetriever | None, instant: Any, **settings: Any
    ) -> InstructRetriever:
        vectors = collection_behind(self._vector_store)
        if shared is None:
            return open_engine(vectors, self._embed_queries, instant=instant, **settings)
        check_shared(shared, vectors, settings)
        return shared

    @property
    def instruction(self) -> Instructions | None:
        """Instruction of queries that carry none."""
        return self._options.instruction

    @property
    def similarity_top_k(self) -> int:
        """Number of nodes wanted."""
        return self._options.k

    @similarity_top_k.setter
    def similarity_top_k(self, value: int) -> None:
        self._options = replace(self._options, k=value)

    def with_instruction(self, instruction: Instructions | None) -> Self:
        """A copy with another instruction that shares the engine, so nothing is fitted twice."""
        other = copy.copy(self)
        other._options = replace(self._options, instruction=check_default(instruction))
        return other

    def retrieve(self, str_or_query_bundle: QueryType, **arguments: Any) -> list[NodeWithScore]:
        """`retrieve` of LlamaIndex; arguments are those of `InstructionQueryBundle`."""
        return super().retrieve(with_arguments(str_or_query_bundle, arguments))

    async def aretrieve(
        self, str_or_query_bundle: QueryType, **arguments: Any
    ) -> list[NodeWithScore]:
        """The same without blocking the event loop."""
        return await super().aretrieve(with_arguments(str_or_query_bundle, arguments))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        with self._judge_watched(judge_event, self.callback_manager, self.engine.feedback):
            return to_nodes(self._search(query_bundle), self._docstore)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        with self._judge_watched(judge_event, self.callback_manager, self.engine.feedback):
            hits = await self._asearch(query_bundle)
        return await asyncio.to_thread(to_nodes, hits, self._docstore)

    def _read_query(self, query: QueryType, **call: Any) -> tuple[str | None, SearchOptions]:
        if isinstance(query, InstructionQueryBundle):
            call = query.arguments() | call
        return _bundle(query).query_str or None, self._search_options(**call)

    def _search_options(
        self,
        *,
        filters: Any = UNSET,
        similarity_top_k: Any = UNSET,
        similarity_cutoff: Any = UNSET,
        mmr_threshold: Any = UNSET,
        **call: Any,
    ) -> SearchOptions:
        return self._options.changed(
            where=UNSET if filters is UNSET else to_where(filters),
            k=similarity_top_k,
            score_threshold=similarity_cutoff,
            lambda_mult=mmr_threshold,
            **call,
        )

    def _vector(self, query: QueryType) -> list[float]:
        bundle = _bundle(query)
        if bundle.embedding is None:
            return self._embed_model.get_agg_embedding_from_queries(_strings(bundle))
        return bundle.embedding

    async def _avector(self, query: QueryType) -> list[float]:
        bundle = _bundle(query)
        if bundle.embedding is None:
            return await self._embed_model.aget_agg_embedding_from_queries(_strings(bundle))
        return bundle.embedding


def _bundle(query: QueryType) -> QueryBundle:
    return query if isinstance(query, QueryBundle) else QueryBundle(check_query(query))


def _strings(bundle: QueryBundle) -> list[str]:
    if bundle.embedding_strs:
        return bundle.embedding_strs
    raise ConfigError(
        "The query is empty, so there is nothing to embed. Pass a text, "
        "custom_embedding_strs or an embedding."
    )
