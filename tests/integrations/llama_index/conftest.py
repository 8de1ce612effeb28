"""96 short tickets in a Chroma-backed index; area and kind cut across each other."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chromadb.api import ClientAPI
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from instruct_embeddings import FitConfig
from instruct_embeddings.testing import TinyEncoder
from llama_index_instruct_embeddings import InstructionTransformRetriever
from tests.chroma_server import chroma_client
from tests.integrations.tickets import CountingGuide, ticket_rows


class TinyEmbedding(BaseEmbedding):
    """Texts that share words are close."""

    _encoder: TinyEncoder = PrivateAttr(default_factory=TinyEncoder)

    def _get_text_embedding(self, text: str) -> list[float]:
        vector: list[float] = self._encoder.encode([text])[0].tolist()
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def tickets() -> Iterator[TextNode]:
    """The tickets as nodes; their metadata is not embedded."""
    for row, text, metadata in ticket_rows():
        hidden = list(metadata)
        yield TextNode(id_=row, text=text, metadata=metadata, excluded_embed_metadata_keys=hidden)


_names = count()


@pytest.fixture(scope="session", params=["embedded", "server"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientAPI]:
    """An embedded Chroma, and one on a server."""
    with chroma_client(request.param, tmp_path_factory.mktemp("chroma")) as client:
        yield client


@pytest.fixture(scope="session")
def collection(client: Any) -> Callable[[], Any]:
    """Makes empty collections."""
    configuration = {"hnsw": {"space": "cosine"}}
    return lambda: client.create_collection(f"tickets-{next(_names)}", configuration=configuration)


@pytest.fixture(scope="session")
def embed_model() -> TinyEmbedding:
    """The model of the tickets."""
    return TinyEmbedding()


@pytest.fixture(scope="session")
def make_index(
    collection: Callable[[], Any], embed_model: TinyEmbedding
) -> Callable[..., VectorStoreIndex]:
    """Makes indexes over a collection of their own."""

    def make(nodes: list[TextNode], **options: Any) -> VectorStoreIndex:
        store = ChromaVectorStore(chroma_collection=collection())
        context = StorageContext.from_defaults(vector_store=store)
        return VectorStoreIndex(
            nodes, storage_context=context, **({"embed_model": embed_model} | options)
        )

    return make


@pytest.fixture(scope="session")
def index(make_index: Callable[..., VectorStoreIndex]) -> VectorStoreIndex:
    """The tickets; tests do not change them."""
    return make_index(list(tickets()))


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transforms that an earlier test has fitted."""
    return tmp_path_factory.mktemp("transforms")


@pytest.fixture
def guide() -> CountingGuide:
    """Judges by kind; counts fits."""
    return CountingGuide()


@pytest.fixture(scope="session")
def fit() -> FitConfig:
    """As fast as it goes."""
    return FitConfig(sample_size=96, folds=2, time_budget=0.5)


@pytest.fixture
def make_retriever(
    index: VectorStoreIndex, guide: CountingGuide, fit: FitConfig, known: Path
) -> Callable[..., InstructionTransformRetriever]:
    """Makes retrievers over the tickets with an engine of their own."""

    def make(**arguments: Any) -> InstructionTransformRetriever:
        parts: dict[str, Any] = {"guide": guide, "fit": fit, "store": known}
        # What answers at once has tests of its own.
        return InstructionTransformRetriever(index, **({"instant": None} | parts | arguments))

    return make


@pytest.fixture
def retriever(
    make_retriever: Callable[..., InstructionTransformRetriever],
) -> InstructionTransformRetriever:
    """A retriever of 20 nodes that finds transforms which earlier tests have fitted."""
    return make_retriever(similarity_top_k=20)


@pytest.fixture
def cold(
    make_retriever: Callable[..., InstructionTransformRetriever],
) -> InstructionTransformRetriever:
    """A retriever of 20 nodes that has to fit every instruction itself, once."""
    return make_retriever(similarity_top_k=20, store=None)
