"""A small world in which the code of the pages runs: tickets, tiny models, no network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psycopg
import pytest
from chromadb import PersistentClient
from chromadb.api.shared_system_client import SharedSystemClient
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.vector_stores.chroma import ChromaVectorStore
from pymilvus import MilvusClient
from qdrant_client import QdrantClient, models

import chroma_instruct_embeddings
import instruct_embeddings
import langchain_instruct_embeddings
import llama_index_instruct_embeddings
from instruct_embeddings.testing import TinyEncoder
from tests.postgres_server import postgres_server

ENCODER = TinyEncoder()
TEXTS = [
    f"{opening} {place} {event} number{number}"
    for number in range(10)
    for place in ("billing invoice month", "printer paper tray")
    for opening in ("thank you", "what disgrace")
    for event in ("photos vanished", "how print")
]
METADATA = [
    {
        "tone": "friendly" if "thank" in text else "angry",
        "problem": "lost data" if "vanished" in text else "how-to question",
    }
    for text in TEXTS
]
IDS = [f"t{place}" for place in range(len(TEXTS))]
# Pages that name a class after it was introduced elsewhere.
NOT_IMPORTED = ("docs/guides.md", "docs/faq.md", "docs/migration.md")


class TinyLangChainEmbeddings(Embeddings):
    """The model that filled the collection, for LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return ENCODER.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class LargerModel(TinyLangChainEmbeddings):
    """Another model, whose vectors are longer."""

    def embed_query(self, text: str) -> list[float]:
        return [0.1] * 384


class NewerModel(TinyLangChainEmbeddings):
    """A model that took the place of the first: the same texts are close, in longer vectors."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        turned = np.random.default_rng(0).normal(size=(ENCODER.dimension, 48))
        return (ENCODER.encode(texts) @ turned).tolist()


class ToolCaller(GenericFakeChatModel):
    """A chat model that calls the tool of the page, then answers."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        arguments = {"query": "it ate my photos", "instruction": "Who sounds as angry?"}
        call = {"name": tools[0].name, "args": arguments, "id": "1"}
        return ToolCaller(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Two.")]))


class TinyLlamaIndexEmbedding(BaseEmbedding):
    """The model that filled the collection, for LlamaIndex."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return ENCODER.encode([text])[0].tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The working folder; Chroma knows databases by the path as it is written, so it forgets."""
    monkeypatch.chdir(tmp_path)
    SharedSystemClient.clear_system_cache()
    yield tmp_path
    SharedSystemClient.clear_system_cache()


@pytest.fixture
def postgres() -> Iterator[str]:
    """Address of a server of its own, with the table "documents"."""
    rows = zip(IDS, map(str, ENCODER.encode(TEXTS).tolist()), TEXTS, strict=True)
    with postgres_server() as address:
        with psycopg.connect(address) as connection:
            connection.execute(
                "CREATE TABLE documents (id text PRIMARY KEY, embedding vector(32), text text, "
                "metadata jsonb)"
            )
            connection.cursor().executemany("INSERT INTO documents VALUES (%s, %s, %s)", [*rows])
            connection.execute("CREATE INDEX ON documents USING hnsw (embedding vector_ip_ops)")
        yield address


@pytest.fixture
def milvus(folder: Path) -> Iterator[str]:
    """Path of a Milvus Lite with the collection "documents"."""
    client = MilvusClient("my-milvus.db")
    client.create_collection("documents", 32)
    rows = enumerate(zip(ENCODER.encode(TEXTS), TEXTS, strict=True))
    client.insert("documents", [{"id": i, "vector": v, "text": t} for i, (v, t) in rows])
    yield "my-milvus.db"
    client.close()


@pytest.fixture
def qdrant() -> Iterator[QdrantClient]:
    """A client in local mode, with the collection "documents"."""
    client = QdrantClient(":memory:")
    client.create_collection(
        "documents", models.VectorParams(size=32, distance=models.Distance.COSINE)
    )
    points = enumerate(zip(ENCODER.encode(TEXTS).tolist(), TEXTS, strict=True))
    client.upsert(
        "documents",
        [models.PointStruct(id=i, vector=v, payload={"page_content": t}) for i, (v, t) in points],
    )
    yield client
    client.close()


@pytest.fixture
def granted(folder: Path, request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    """The names that a page takes for granted, in a folder that holds what it needs."""

    def make(page: str) -> dict[str, Any]:
        client = PersistentClient("my-chroma")
        client.create_collection(
            "tickets", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        ).add(ids=IDS, embeddings=ENCODER.encode(TEXTS), documents=TEXTS, metadatas=METADATA)
        names = _exported() if page in NOT_IMPORTED else {}
        if "postgres" in page:
            names["address"] = request.getfixturevalue("postgres")
        if "milvus" in page:
            names["address"] = request.getfixturevalue("milvus")
        if "qdrant" in page:
            names["qdrant"] = request.getfixturevalue("qdrant")
        if "langgraph" in page:
            pytest.importorskip("langgraph")
            names["llm"] = ToolCaller(messages=iter(()))
        return _host_names("llama" in page or "LlamaIndex" in page) | _plain(client) | names

    return make


def _exported() -> dict[str, Any]:
    packages = (
        llama_index_instruct_embeddings,
        chroma_instruct_embeddings,
        instruct_embeddings,
        langchain_instruct_embeddings,
    )
    return {name: getattr(own, name) for own in packages for name in own.__all__}


def _plain(client: Any) -> dict[str, Any]:
    return {
        "client": client,
        "embeddings": TinyLangChainEmbeddings(),
        "larger_model": LargerModel(),
        "new_model": NewerModel(),
        "ids": IDS,
        "np": np,
        "texts": TEXTS,
        "toss": Random(0),
        "vector": ENCODER.encode(["it ate my photos"])[0],
        "vectors": ENCODER.encode(TEXTS),
    }


def _host_names(llama_index: bool) -> dict[str, Any]:
    chroma = Chroma("tickets", TinyLangChainEmbeddings(), persist_directory="my-chroma")
    collection = PersistentClient("my-chroma").get_collection("tickets", embedding_function=None)
    embed_model = TinyLlamaIndexEmbedding()
    index = VectorStoreIndex.from_vector_store(
        ChromaVectorStore(chroma_collection=collection), embed_model=embed_model
    )
    llm = MockLLM() if llama_index else FakeListChatModel(responses=["They are gone [t0]."])
    return {
        "Chroma": Chroma,
        "VectorStoreIndex": VectorStoreIndex,
        "chroma": chroma,
        "embed_model": embed_model,
        "index": index,
        "llm": llm,
    }
