"""The suite that LangChain ships for retrievers, over stores other than Chroma."""

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from instruct_embeddings import FitConfig
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.hosts.test_stores import of_id
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.tickets import KIND, CountingGuide, ticket_rows


def of_qdrant() -> VectorStore:
    return QdrantVectorStore.from_texts([], TinyEmbeddings(), location=":memory:")


def in_memory() -> VectorStore:
    return InMemoryVectorStore(TinyEmbeddings())


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
class _Standard(RetrieversIntegrationTests):
    instruction: str | None = None

    @pytest.fixture(autouse=True, params=[of_qdrant, in_memory])
    def _given(self, request: pytest.FixtureRequest) -> None:
        store = request.param()
        ids, texts, metadatas = zip(*ticket_rows(), strict=True)
        store.add_texts(texts, metadatas=metadatas, ids=[of_id(row) for row in ids])
        fit = FitConfig(sample_size=96, folds=2, time_budget=0.5)
        learning = {"guide": CountingGuide(), "fit": fit, "force": True, "instant": None}
        self._params = {"vectorstore": store, **learning}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return InstructionTransformRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {**self._params, "instruction": self.instruction}

    @property
    def retriever_query_example(self) -> str:
        return "paper jam in the printer"


class TestGenericRetriever(_Standard):
    """Without an instruction."""


class TestAdaptedRetriever(_Standard):
    """With a default instruction."""

    instruction = KIND
