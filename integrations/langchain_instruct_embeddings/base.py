"""How LangChain searches: fields that a call may override, the calls, and hits as documents."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any

from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import LangSmithRetrieverParams
from langchain_core.runnables.config import RunnableConfig
from langchain_core.vectorstores import VectorStore
from pydantic import AfterValidator, ConfigDict, Field

from instruct_embeddings import Hit, Instruction
from instruct_embeddings.embedded import NODE_KEY
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import (
    UNSET,
    HostRetriever,
    SearchOptions,
    check_arguments,
    check_default,
    check_query,
    warn,
)
from langchain_instruct_embeddings.tool import ToolRetriever
from langchain_instruct_embeddings.tracing import judge_run

# Fields that are options of a search by the same name.
_OPTIONS = tuple(option.name for option in fields(SearchOptions) if option.name != "where")
_LLAMA_INDEX_KEYS = (NODE_KEY, "_node_type")


class DocumentRetriever(HostRetriever, ToolRetriever):
    """Searches a vector store as its fields say, or as the arguments of a call say otherwise."""

    model_config = ConfigDict(extra="forbid")

    vectorstore: VectorStore = Field(frozen=True)
    k: int = Field(default=4, gt=0)
    instruction: Annotated[
        str | Instruction | dict[str | Instruction, float] | None, AfterValidator(check_default)
    ] = None
    filter: Any = None
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
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        scores = call.pop("_scores", None)
        with self._judge_watched(judge_run, run_manager):
            return self._documents(self._search(query, **call), scores)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        scores = call.pop("_scores", None)
        with self._judge_watched(judge_run, run_manager.get_sync()):
            return self._documents(await self._asearch(query, **call), scores)

    def _documents(self, hits: Sequence[Hit], scores: list[float] | None) -> list[Document]:
        """Documents in the order of the hits; rows without a text are left out."""
        shown = [hit for hit in hits if hit.text is not None]
        if scores is not None:
            scores += [float(hit.score) for hit in shown]
        return [_to_document(hit, self.score_key) for hit in shown]

    def _search_options(self, *, filter: Any = UNSET, **call: Any) -> SearchOptions:
        check_arguments(type(self).__name__, call, [*_OPTIONS, "filter"])
        own = {name: getattr(self, name) for name in _OPTIONS}
        where = UNSET if filter is UNSET else _where(filter)
        return SearchOptions(where=_where(self.filter), **own).changed(where=where, **call)

    def _read_query(self, query: Any, **call: Any) -> tuple[str, SearchOptions]:
        return check_query(query), self._search_options(**call)

    @property
    def _embeddings(self) -> Embeddings:
        own = getattr(getattr(self, "collection", None), "embeddings", None)
        if isinstance(own, Embeddings):  # of `StoreVectors`, which may be given another model
            return own
        if (found := self.vectorstore.embeddings) is not None:
            return found
        raise ConfigError(
            "The vector store has no embeddings object, so a query cannot be embedded. It needs "
            "the model that made its vectors, as in Chroma(..., embedding_function=model)."
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


def _where(filter: Any) -> Any:
    """A filter in the language of all stores; what is no mapping is the store's own."""
    return filter if filter is None or isinstance(filter, Mapping) else {"$native": filter}


def _to_document(hit: Hit, score_key: str | None) -> Document:
    """The document of one hit, as it is stored; that a judge has failed is always told.

    Scores are no part of it, except under `score_key`: LangChain takes two documents for the same
    where text and metadata are equal (`MultiQueryRetriever`, the indexing API).
    """
    # What LlamaIndex stores to rebuild its nodes is of no use here.
    hidden = _LLAMA_INDEX_KEYS if NODE_KEY in hit.metadata else ()
    stored = {key: value for key, value in hit.metadata.items() if key not in hidden}
    found: dict[str, Any] = {}
    if hit.judge_problem is not None:
        found["judge_problem"] = hit.judge_problem
    if score_key is not None:
        found[score_key] = float(hit.score)
        if hit.judge_score is not None:
            found["judge_score"] = hit.judge_score
        if hit.reused:
            found["reused_instruction"] = ", ".join(hit.reused)
    for key in found.keys() & stored.keys():
        own = "Pass another score_key, or score_key=None."
        warn(
            f"The stored metadata of {hit.id!r} already has the key {key!r}; what the search found "
            "out replaces it in the returned document. "
            + (own if key == score_key else "Store yours under another name.")
        )
    return Document(id=hit.id, page_content=hit.text or "", metadata=stored | found)
