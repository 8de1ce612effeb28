"""The suite that LangChain ships for retrievers, over stores other than Chroma."""

import pytest
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore

from instruct_embeddings import FitConfig
from tests.integrations.hosts.test_stores import of_id
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.langchain.test_standard import Standard
from tests.integrations.tickets import KIND, CountingGuide, ticket_rows


def of_qdrant() -> VectorStore:
    return QdrantVectorStore.from_texts([], TinyEmbeddings(), location=":memory:")


def in_memory() -> VectorStore:
    return InMemoryVectorStore(TinyEmbeddings())


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
class _OverOthers(Standard):
    @pytest.fixture(autouse=True, params=[of_qdrant, in_memory])
    def _given(self, request: pytest.FixtureRequest) -> None:
        store = request.param()
        ids, texts, metadatas = zip(*ticket_rows(), strict=True)
        store.add_texts(texts, metadatas=metadatas, ids=[of_id(row) for row in ids])
        fit = FitConfig(sample_size=96, folds=2, time_budget=0.5)
        learning = {"guide": CountingGuide(), "fit": fit, "force": True, "instant": None}
        self.fields = {"vectorstore": store, **learning}


class TestGenericRetriever(_OverOthers):
    """Without an instruction."""


class TestAdaptedRetriever(_OverOthers):
    """With a default instruction."""

    instruction = KIND
