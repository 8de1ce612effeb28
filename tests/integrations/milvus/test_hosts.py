"""The stores of LangChain and LlamaIndex for Milvus."""

from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_milvus import Milvus
from llama_index.core.schema import TextNode
from llama_index.vector_stores.milvus import MilvusVectorStore
from pymilvus import MilvusClient, connections

from instruct_embeddings.errors import UnsupportedCollectionError
from instruct_embeddings.stores import collection_behind
from milvus_instruct_embeddings import MilvusVectors

MODEL = DeterministicFakeEmbedding(size=8)
TEXTS = ["one text", "another text"]


@pytest.mark.filterwarnings("ignore:.*is an ORM-style PyMilvus API")  # LangChain's own
@pytest.mark.parametrize("options", [{"enable_dynamic_field": True}, {"metadata_field": "meta"}])
def test_a_store_of_langchain(lite: MilvusClient, path: str, name: str, options: Any) -> None:
    store = Milvus(
        MODEL,
        collection_name=name,
        connection_args={"uri": path},
        index_params={"index_type": "HNSW", "metric_type": "COSINE"},
        primary_field="key",
        text_field="body",
        vector_field="embedding",
        **options,
    )
    # langchain-milvus below 0.4 looks for a connection that newer clients no longer make.
    if not connections.has_connection(store.alias):
        connections.connect(store.alias, uri=f"http://{_address(store.client)}")
    store.add_texts(TEXTS, [{"n": 1}, {"n": 2}], ids=["a", "b"])
    vectors = collection_behind(store)
    assert isinstance(vectors, MilvusVectors)
    assert (vectors.info().space, vectors.count()) == ("cosine", 2)
    rows = vectors.fetch(["b"], records=True)
    assert (rows.texts, rows.metadatas) == (("another text",), ({"n": 2},))
    assert vectors.search(MODEL.embed_query("one text"), k=1, where={"n": 1}).ids == ("a",)  # type: ignore[arg-type]


def test_a_store_of_llama_index(lite: MilvusClient, path: str, name: str) -> None:
    store = MilvusVectorStore(
        uri=path, collection_name=name, dim=8, overwrite=True, use_async_client=False
    )
    nodes = [
        TextNode(text=text, id_=str(i), metadata={"n": i}, embedding=MODEL.embed_query(text))
        for i, text in enumerate(TEXTS)
    ]
    store.add(nodes)
    vectors = collection_behind(store)
    assert vectors.info().space == "ip"
    rows = vectors.fetch(["1"], vectors=True, records=True)
    assert rows.texts == ("another text",)
    assert rows.read_texts == ("n: 1\n\nanother text",)
    assert rows.metadatas[0]["n"] == 1
    found = vectors.search(rows.vectors[0], k=2, where={"n": {"$ne": 5}})
    assert found.ids[0] == "1"


def test_what_is_no_store_of_them() -> None:
    with pytest.raises(UnsupportedCollectionError, match=r"builtins\.dict.*MilvusVectorStore"):
        MilvusVectors.of({})


def _address(client: MilvusClient) -> str:
    return client._get_connection().server_address
