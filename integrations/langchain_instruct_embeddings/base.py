"""How LangChain searches: fields that a call may override, the calls, and hits as documents."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any

from langchain_chroma import Chroma
from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import LangSmithRetrieverParams
from langchain_core.runnables.config import RunnableConfig
from pydantic import AfterValidator, ConfigDict, Field

from instruct_embeddings import Hit
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import (
    UNSET,
    HostRetriever,
    SearchOptions,
    check_default,
    check_query,
)
from langchain_instruct_embeddings.documents import to_document
from langchain_instruct_embeddings.tool import ToolRetriever
from langchain_instruct_embeddings.tracing import judge_run

# Fields that are options of a search by the same name.
_OPTIONS = tuple(option.name for option in fields(SearchOptions) if option.name != "where")


class DocumentRetriever(HostRetriever, ToolRetriever):
    """Searches a vector store as its fields say, or as the arguments of a call say otherwise."""

    model_config = ConfigDict(extra="forbid")

    vectorstore: Chroma = Field(frozen=True)
    k: int = Field(default=4, gt=0)
    instruction: Annotated[str | dict[str, float] | None, AfterValidator(check_default)] = None
    filter: dict[str, Any] | None = None
    where_document: dict[str, Any] | None = None
    blend: float | None = Field(default=None, ge=0.0, le=1.0)
    prefetch: int | None = Field(default=None, gt=0)
    exact: bool = False
    wait: bool = False
    judge: bool = True
    score_threshold: float | None = Field(default=None, ge=-1.0, le=1.0)
    lambda_mult: float | None = Field(default=None, ge=0.0, le=1.0)
    fetch_k: int | None = Field(default=None, gt=0)
    score_key: str | None = None

    def invoke_with_scores(
        self, input: str, config: RunnableConfig | None = None, **arguments: Any
    ) -> list[tuple[Document, float]]:
        """`invoke` with scores in [-1, 1]: the adapted cosine, or generic without instruction."""
        scores: list[float] = []
        documents = self.invoke(input, config, _scores=scores, **arguments)
        return list(zip(documents, scores, strict=True))

    async def ainvoke_with_scores(
        self, input: str, config: RunnableConfig | None = None, **arguments: Any
    ) -> list[tuple[Document, float]]:
        """The same as `invoke_with_scores` without blocking the event loop."""
        scores: list[float] = []
        documents = await self.ainvoke(input, config, _scores=scores, **arguments)
        return list(zip(documents, scores, strict=True))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        _scores: list[float] | None = None,
        **call: Any,
    ) -> list[Document]:
        with self._judge_watched(judge_run, run_manager):
            return self._documents(self._search(query, **call), _scores)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        _scores: list[float] | None = None,
        **call: Any,
    ) -> list[Document]:
        with self._judge_watched(judge_run, run_manager.get_sync()):
            return self._documents(await self._asearch(query, **call), _scores)

    def _documents(self, hits: Sequence[Hit], scores: list[float] | None) -> list[Document]:
        """Documents in the order of the hits; rows without a text are left out."""
        shown = [hit for hit in hits if hit.text is not None]
        if scores is not None:
            scores += [float(hit.score) for hit in shown]
        return [to_document(hit, self.score_key) for hit in shown]

    def _search_options(self, *, filter: Any = UNSET, **call: Any) -> SearchOptions:
        own = {name: getattr(self, name) for name in _OPTIONS}
        return SearchOptions(where=self.filter, **own).changed(where=filter, **call)

    def _read_query(self, query: Any, **call: Any) -> tuple[str, SearchOptions]:
        return check_query(query), self._search_options(**call)

    @property
    def _embeddings(self) -> Embeddings:
        if (found := self.vectorstore.embeddings) is not None:
            return found
        raise ConfigError(
            "The vector store has no embeddings object, so a query cannot be embedded. It needs "
            "the model that made its vectors: Chroma(..., embedding_function=model)."
        )

    def _vector(self, query: str) -> list[float]:
        return self._embeddings.embed_query(query)

    async def _avector(self, query: str) -> list[float]:
        return await self._embeddings.aembed_query(query)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.vectorstore).__name__
        params["ls_embedding_provider"] = type(self._embeddings).__name__
        return params
