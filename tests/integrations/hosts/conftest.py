"""The tickets in one Chroma collection, searched through the retriever of each host."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from chromadb.api import ClientAPI
from langchain_chroma import Chroma
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore

import langchain_instruct_embeddings as langchain
import llama_index_instruct_embeddings as llama_index
from instruct_embeddings import FitConfig, Hit
from instruct_embeddings.testing import TinyEncoder
from tests.chroma_server import chroma_client
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.llama_index.conftest import TinyEmbedding
from tests.integrations.tickets import CountingGuide, ticket_rows

Rows = list[tuple[str, str, dict[str, Any]]]


class Host(Protocol):
    """The retriever of a host, in one language: options as in `SearchOptions`, and `filter`."""

    def make(self, **options: Any) -> Any:
        """A retriever over the collection."""
        ...

    def find(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        """What one query finds."""
        ...

    async def afind(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        """The same, asynchronously."""
        ...


class LangChain:
    """Options are arguments of a call."""

    def __init__(self, collection: Any, client: ClientAPI) -> None:
        self.name, self.client = collection.name, client

    def make(self, *, model: Any = None, **options: Any) -> Any:
        model = model or TinyEmbeddings()
        store = Chroma(self.name, client=self.client, embedding_function=model)
        return langchain.InstructionTransformRetriever(vectorstore=store, **options)

    def find(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        return self._hits(retriever.invoke_with_scores(query, **call))

    async def afind(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        return self._hits(await retriever.ainvoke_with_scores(query, **call))

    def _hits(self, found: Any) -> list[Hit]:
        return [
            Hit(document.id, score, document.page_content, document.metadata, "generic")
            for document, score in found
        ]


class LlamaIndex:
    """Options are attributes of a query."""

    NAMES = {  # noqa: RUF012
        "k": "similarity_top_k",
        "score_threshold": "similarity_cutoff",
        "lambda_mult": "mmr_threshold",
        "fetch_k": "mmr_prefetch_k",
        "filter": "filters",
    }

    def __init__(self, collection: Any, client: ClientAPI) -> None:
        self.store = ChromaVectorStore(chroma_collection=collection)

    def make(self, *, model: Any = None, **options: Any) -> Any:
        return llama_index.InstructionTransformRetriever(
            vector_store=self.store, embed_model=model or TinyEmbedding(), **self._own(options)
        )

    def find(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        return self._hits(retriever.retrieve(self._bundle(query, call)))

    async def afind(self, retriever: Any, query: str, **call: Any) -> list[Hit]:
        return self._hits(await retriever.aretrieve(self._bundle(query, call)))

    def _bundle(self, query: str, call: dict[str, Any]) -> Any:
        return llama_index.InstructionQueryBundle(query, **self._own(call))

    def _own(self, options: dict[str, Any]) -> dict[str, Any]:
        own = {self.NAMES.get(name, name): value for name, value in options.items()}
        if own.get("filters") is not None:
            [(key, value)] = own["filters"].items()
            own["filters"] = MetadataFilters(filters=[MetadataFilter(key=key, value=value)])
        return own

    def _hits(self, found: Any) -> list[Hit]:
        return [
            Hit(one.node_id, one.score, one.node.get_content(), one.node.metadata, "generic")
            for one in found
        ]


_names = count()


@pytest.fixture(scope="session", params=["embedded", "server"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientAPI]:
    """An embedded Chroma, and one on a server."""
    with chroma_client(request.param, tmp_path_factory.mktemp("chroma")) as client:
        yield client


@pytest.fixture(scope="session", params=[LangChain, LlamaIndex])
def host_of(request: pytest.FixtureRequest, client: Any) -> Callable[[Rows], Host]:
    """A host over a collection of its own."""

    def make(rows: Rows) -> Host:
        collection = client.create_collection(
            f"rows-{next(_names)}", configuration={"hnsw": {"space": "cosine"}}
        )
        ids, texts, metadatas = map(list, zip(*rows, strict=True))
        vectors = TinyEncoder().encode(texts)
        collection.add(ids=ids, documents=texts, metadatas=metadatas, embeddings=vectors)
        host: Host = request.param(collection, client)
        return host

    return make


@pytest.fixture(scope="session")
def host(host_of: Callable[[Rows], Host]) -> Host:
    """A host over the tickets; tests do not change them."""
    return host_of(list(ticket_rows()))


@pytest.fixture(params=["sync", "async"])
def find(request: pytest.FixtureRequest, host: Host) -> Callable[..., list[Hit]]:
    """Searches the tickets, once through each door."""

    def search(retriever: Any, query: str, **call: Any) -> list[Hit]:
        if request.param == "sync":
            return host.find(retriever, query, **call)
        return asyncio.run(host.afind(retriever, query, **call))

    return search


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transforms that an earlier test has fitted."""
    return tmp_path_factory.mktemp("transforms")


@pytest.fixture
def guide() -> CountingGuide:
    """Judges by kind; counts fits."""
    return CountingGuide()


@pytest.fixture
def make(host: Host, guide: CountingGuide, known: Path) -> Callable[..., Any]:
    """Makes retrievers over the tickets that find what earlier tests have fitted."""
    fit = FitConfig(sample_size=96, folds=2, time_budget=0.5)

    def build(**options: Any) -> Any:
        # What answers at once has tests of its own.
        own: dict[str, Any] = {"guide": guide, "fit": fit, "store": known, "instant": None}
        return host.make(**(own | options))

    return build
