"""Stores of LangChain and LlamaIndex: recognised, and read as they write."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_qdrant import Qdrant, QdrantVectorStore
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from instruct_embeddings.errors import UnsupportedCollectionError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.testing import TinyEncoder
from qdrant_instruct_embeddings import QdrantVectors
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.qdrant.conftest import NAME, TEXTS_FILTERED, fill

TEXTS = ["I was charged twice.", "It crashes on start."]
AREAS = ["billing", "app"]
ENCODED = TinyEncoder().encode(TEXTS)


def rows_of(vectors: QdrantVectors) -> Rows:
    return Rows.joined(list(vectors.scan(vectors=True, records=True)))


class MyStore(QdrantVectorStore):
    pass


def langchain(client: QdrantClient, **options: Any) -> Any:
    name = options.get("vector_name", "")
    params = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection(NAME, {name: params} if name else params)
    return MyStore(client, NAME, embedding=TinyEmbeddings(), **options)


STORES: dict[str, Callable[[QdrantClient], Any]] = {
    "plain": langchain,
    "named": lambda client: langchain(client, vector_name="dense"),
    "other keys": lambda client: langchain(
        client, content_payload_key="words", metadata_payload_key="meta.data"
    ),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_a_store_of_langchain(client: QdrantClient, make: Callable[[QdrantClient], Any]) -> None:
    store = make(client)
    documents = zip(TEXTS, AREAS, strict=True)
    ids = store.add_documents(
        [Document(page_content=text, metadata={"area": area}) for text, area in documents]
    )
    vectors = QdrantVectors.of(store)
    rows = rows_of(vectors)
    assert sorted(rows.texts, key=str) == TEXTS
    told = vectors.fetch(ids, records=True)
    assert (told.ids, told.texts) == (tuple(ids), tuple(TEXTS))
    assert [metadata["area"] for metadata in told.metadatas] == AREAS
    ids = [next(row for row in rows.ids if UUID(row) == UUID(one)) for one in ids]
    query = ENCODED[1]
    assert vectors.search(query, k=1).ids == (ids[1],)
    assert vectors.search(query, k=2, where={"area": "billing"}).ids == (ids[0],)
    if TEXTS_FILTERED:
        assert vectors.search(query, k=2, where_document={"$contains": "twice"}).ids == (ids[0],)
    opened = store.similarity_search_with_score_by_vector(query.tolist(), k=2)
    np.testing.assert_allclose(
        [score for _, score in opened], vectors.search(query, k=2).scores, atol=1e-5
    )


# It no longer works with the client, but may stand around with an older one.
@pytest.mark.filterwarnings("ignore:.*`Qdrant` was deprecated")
def test_the_older_store_of_langchain(local: QdrantClient) -> None:
    fill(local, ENCODED)
    vectors = QdrantVectors.of(Qdrant(local, NAME, embeddings=TinyEmbeddings()))
    assert rows_of(vectors).texts == ("text 0", "text 1")


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
@pytest.mark.parametrize("unnamed", [False, True])
def test_a_store_of_llama_index(client: QdrantClient, unnamed: bool) -> None:
    if unnamed:  # as older versions made it
        params = models.VectorParams(size=32, distance=models.Distance.COSINE)
        client.create_collection(NAME, params)
    store = LlamaIndexStore(NAME, client=client)
    nodes = [
        TextNode(text=text, metadata={"area": area}, embedding=vector)
        for text, area, vector in zip(
            TEXTS, AREAS, TinyEncoder().encode(TEXTS).tolist(), strict=True
        )
    ]
    ids = store.add(nodes)
    vectors = QdrantVectors.of(store)
    rows = vectors.fetch(ids, vectors=True, records=True)
    assert rows.texts == tuple(TEXTS)
    assert rows.read_texts == tuple(node.get_content("embed") for node in nodes)
    assert rows.read_texts[0] == "area: billing\n\nI was charged twice."
    again = metadata_dict_to_node(dict(rows.metadatas[1]), text=rows.texts[1])
    assert (again.node_id, again.get_content()) == (ids[1], TEXTS[1])
    query = np.array(nodes[1].embedding, np.float32)
    assert vectors.search(query, k=2, where={"area": "app"}).ids == (ids[1],)
    assert set(rows_of(vectors).ids) == set(ids)


class QdrantVectorStoreOfMine:
    client = None


def test_other_stores_are_refused(local: QdrantClient) -> None:
    for store in (QdrantVectorStoreOfMine(), local, object(), TinyEmbeddings()):
        with pytest.raises(UnsupportedCollectionError, match="Cannot read vectors from a"):
            QdrantVectors.of(store)
    store = LlamaIndexStore(NAME, aclient=AsyncQdrantClient(":memory:"))
    with pytest.raises(UnsupportedCollectionError, match="with a synchronous client"):
        QdrantVectors.of(store)
