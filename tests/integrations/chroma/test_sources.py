import asyncio
import inspect
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import UnsupportedCollectionError

Make = Callable[..., Any]

langchain_chroma = pytest.importorskip("langchain_chroma")
llama_index_chroma = pytest.importorskip("llama_index.vector_stores.chroma")


@pytest.fixture
def store(client: ClientAPI) -> Any:
    """A LangChain store over one stored vector."""
    name = f"test-{uuid4().hex}"
    store = langchain_chroma.Chroma(
        name, client=client, collection_configuration={"hnsw": {"space": "cosine"}}
    )
    client.get_collection(name).add(
        ids=["a"], embeddings=np.eye(1, 2, dtype=np.float32), documents=["text"]
    )
    return store


def test_a_langchain_store_is_read_through_its_collection(store: Any) -> None:
    vectors = ChromaVectors(store)
    assert (vectors.info().space, vectors.info().dimension) == ("cosine", 2)
    assert vectors.fetch(["a"], records=True).texts == ("text",)


def test_a_subclass_of_a_langchain_store_is_accepted(client: ClientAPI) -> None:
    class Ours(langchain_chroma.Chroma):  # type: ignore[misc, name-defined]
        pass

    assert ChromaVectors(Ours(f"test-{uuid4().hex}", client=client)).count() == 0


def test_a_llama_index_store_is_read_through_its_collection(make: Make) -> None:
    collection = make([[1.0, 0.0]])
    store = llama_index_chroma.ChromaVectorStore(chroma_collection=collection)
    assert ChromaVectors(store).info() == ChromaVectors(collection).info()


def test_a_reset_langchain_store_is_followed_to_its_new_collection(store: Any) -> None:
    vectors = ChromaVectors(store)
    before = vectors.info()
    store.reset_collection()
    vectors.collection.add(ids=["b"], embeddings=np.eye(1, 3, dtype=np.float32))
    after = vectors.info()
    assert (before.dimension, after.dimension) == (2, 3)
    assert before.id != after.id


def test_a_deleted_langchain_collection_says_what_to_do(store: Any) -> None:
    vectors = ChromaVectors(store)
    store.delete_collection()
    with pytest.raises(UnsupportedCollectionError, match=r"was deleted.*reset_collection"):
        vectors.count()


def test_an_async_collection_is_refused(port: int) -> None:
    async def opened() -> object:
        client = await chromadb.AsyncHttpClient(host="127.0.0.1", port=port)
        return await client.get_or_create_collection("async", embedding_function=None)

    with pytest.raises(UnsupportedCollectionError, match=r"AsyncCollection\. .*HttpClient"):
        ChromaVectors(asyncio.run(opened()))


def test_a_langchain_store_on_an_async_client_is_refused(port: int) -> None:
    async def opened() -> Any:
        client = await chromadb.AsyncHttpClient(host="127.0.0.1", port=port)
        return langchain_chroma.Chroma("async", client=client)

    store = asyncio.run(opened())
    with pytest.raises(UnsupportedCollectionError, match=r"a coroutine behind a .*Chroma"):
        ChromaVectors(store)
    store._collection.close()


def test_a_coroutine_is_refused() -> None:
    async def collection() -> None: ...

    coroutine = collection()
    assert inspect.iscoroutine(coroutine)
    with pytest.raises(UnsupportedCollectionError, match=r"a coroutine\. .*synchronous client"):
        ChromaVectors(coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("source", "name"),
    [(None, "NoneType"), ("reviews", "str"), (np.eye(2), "numpy.ndarray")],
    ids=["none", "name", "array"],
)
def test_anything_else_is_refused_by_its_type(source: object, name: str) -> None:
    with pytest.raises(UnsupportedCollectionError, match=rf"from a {name}\. .*ChromaVectorStore"):
        ChromaVectors(source)


def test_a_client_is_refused_with_the_way_to_its_collections(client: ClientAPI) -> None:
    with pytest.raises(UnsupportedCollectionError, match=r"pass client\.get_collection\(name\)"):
        ChromaVectors(client)
