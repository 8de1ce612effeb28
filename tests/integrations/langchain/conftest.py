"""96 short tickets in a real Chroma collection; area and kind cut across each other."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chromadb.api import ClientAPI
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from instruct_embeddings import FitConfig
from instruct_embeddings.testing import TinyEncoder
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.chroma_server import chroma_client
from tests.integrations.tickets import CountingGuide, ticket_rows


class TinyEmbeddings(Embeddings):
    """Texts that share words are close."""

    def __init__(self) -> None:
        """Without weights."""
        self.encoder = TinyEncoder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Rows of Python floats."""
        rows: list[list[float]] = self.encoder.encode(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """One row of Python floats."""
        return self.embed_documents([text])[0]


def tickets() -> Iterator[Document]:
    """The tickets as documents."""
    for row, text, metadata in ticket_rows():
        yield Document(id=row, page_content=text, metadata=metadata)


_names = count()


@pytest.fixture(scope="session", params=["embedded", "server"])
def open_chroma(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Chroma]]:
    """Makes vector stores with a collection of their own, embedded and on a server."""
    with chroma_client(request.param, tmp_path_factory.mktemp("chroma")) as client:
        yield _maker(client)


def _maker(client: ClientAPI) -> Callable[..., Chroma]:
    def make(embeddings: Embeddings | None = None, *, name: str | None = None) -> Chroma:
        return Chroma(
            client=client,
            collection_name=name or f"tickets-{next(_names)}",
            embedding_function=embeddings or TinyEmbeddings(),
            collection_configuration={"hnsw": {"space": "cosine"}},
        )

    return make


@pytest.fixture(scope="session")
def chroma(open_chroma: Callable[..., Chroma]) -> Chroma:
    """The tickets; tests do not change them."""
    store = open_chroma()
    store.add_documents(list(tickets()))
    return store


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
    chroma: Chroma, guide: CountingGuide, fit: FitConfig, known: Path
) -> Callable[..., InstructionTransformRetriever]:
    """Makes retrievers over the tickets with an engine of their own."""

    def make(**fields: Any) -> InstructionTransformRetriever:
        parts: dict[str, Any] = {"guide": guide, "fit": fit, "store": known}
        # What answers at once has tests of its own.
        own = {"vectorstore": chroma, "instant": None}
        return InstructionTransformRetriever(**(own | parts | fields))

    return make


@pytest.fixture
def retriever(
    make_retriever: Callable[..., InstructionTransformRetriever],
) -> InstructionTransformRetriever:
    """A retriever that finds transforms which earlier tests have fitted."""
    return make_retriever()


@pytest.fixture
def cold(
    make_retriever: Callable[..., InstructionTransformRetriever],
) -> InstructionTransformRetriever:
    """A retriever that has to fit every instruction itself, once."""
    return make_retriever(store=None)
