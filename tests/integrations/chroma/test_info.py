from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.utils import embedding_functions

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.spaces import space_of
from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import CollectionInfo, VectorCollection
from instruct_embeddings.transform.transform import transform_key

Make = Callable[..., Any]


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_info_names_the_collection_its_dimension_and_its_space(make: Make, space: str) -> None:
    collection = make([[1.0, 0.0, 0.0]], space=space)
    vectors: VectorCollection = ChromaVectors(collection)
    assert vectors.info() == CollectionInfo(collection.name, str(collection.id), 3, space)  # type: ignore[arg-type]


def test_a_renamed_collection_is_the_same_one(make: Make, client: ClientAPI) -> None:
    collection = make([[1.0, 0.0], [0.0, 1.0]])
    before = ChromaVectors(collection).info()
    key = transform_key("What is it for?", "metadata:use", before)
    collection.modify(name=f"{collection.name}-renamed")
    after = ChromaVectors(client.get_collection(collection.name, embedding_function=None)).info()
    assert after.name == f"{before.name}-renamed"
    assert after == before
    assert transform_key("What is it for?", "metadata:use", after) == key


def test_dimension_is_the_same_from_creation_and_after_opening_again(
    make: Make, client: ClientAPI
) -> None:
    created = make([[1.0, 0.0]])
    opened = client.get_collection(created.name, embedding_function=None)
    assert (created.get_model().dimension, opened.get_model().dimension) == (None, 2)
    assert ChromaVectors(created).info() == ChromaVectors(opened).info()


def test_space_of_older_collections_comes_from_their_metadata(client: ClientAPI) -> None:
    collection = client.create_collection(
        f"test-{uuid4().hex}", metadata={"hnsw:space": "ip"}, embedding_function=None
    )
    assert space_of(collection) == "ip"


@pytest.mark.parametrize(
    ("configuration", "metadata", "space"),
    [
        ({"hnsw": {"space": "ip"}}, {"hnsw:space": "cosine"}, "ip"),
        ({"hnsw": {"space": "l2"}}, {"hnsw:space": "cosine"}, "cosine"),
        ({"hnsw": None, "spann": {"space": "cosine"}}, None, "cosine"),
        ({}, {"hnsw:space": "cosine"}, "cosine"),
        ({}, None, "l2"),
    ],
    ids=["configuration-wins", "default-of-old-versions", "spann", "metadata", "default"],
)
def test_space_is_looked_up_in_this_order(
    configuration: object, metadata: object, space: str
) -> None:
    assert space_of(_stand_in(configuration, metadata)) == space


def test_unknown_space_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedCollectionError, match=r"'manhattan'.*cosine, ip, l2"):
        space_of(_stand_in({"hnsw": {"space": "manhattan"}}, None))


def test_unregistered_embedding_function_does_no_harm(
    client: ClientAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedding_functions.known_embedding_functions, "refuses", Refuses)
    name = f"test-{uuid4().hex}"
    client.create_collection(name, embedding_function=cast(Any, Refuses())).add(
        ids=["a"], embeddings=np.array([[3.0, 4.0]]), documents=["text"]
    )
    monkeypatch.delitem(embedding_functions.known_embedding_functions, "refuses")
    collection = client.get_collection(name)
    with pytest.raises(ValueError, match="refuses not found"):
        _ = collection.configuration
    vectors = ChromaVectors(collection)
    assert vectors.info().dimension == 2
    assert vectors.search(np.array([3.0, 4.0], dtype=np.float32), k=1).ids == ("a",)
    assert vectors.fetch(["a"], records=True).texts == ("text",)


def test_a_silently_recorded_default_embedding_function_is_never_used(client: ClientAPI) -> None:
    collection = client.create_collection(f"test-{uuid4().hex}")
    assert collection.configuration_json["embedding_function"]["name"] == "default"
    collection.add(ids=["a"], embeddings=np.array([[3.0, 4.0]]), documents=["text"])
    vectors = ChromaVectors(collection)
    assert vectors.info().space == "l2"
    assert vectors.search(np.array([3.0, 4.0], dtype=np.float32), k=1).scores.tolist() == [0.0]


def test_empty_collection_has_no_dimension(make: Make) -> None:
    with pytest.raises(EmptyCollectionError, match=r"holds 0 vectors.*Add documents"):
        ChromaVectors(make()).info()


def test_emptied_collection_counts_as_empty(make: Make, client: ClientAPI) -> None:
    collection = make([[1.0, 0.0]])
    collection.delete(ids=["id0"])
    for same in (collection, client.get_collection(collection.name, embedding_function=None)):
        with pytest.raises(EmptyCollectionError):
            ChromaVectors(same).info()


def test_count_follows_the_collection(make: Make) -> None:
    collection = make([[1.0, 0.0], [0.0, 1.0]])
    vectors = ChromaVectors(collection)
    assert vectors.count() == 2
    collection.delete(ids=["id0"])
    assert vectors.count() == 1


@pytest.mark.parametrize("page_size", [0, -1, 10_001])
def test_page_size_out_of_range_is_refused(make: Make, page_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"page_size.*{page_size}"):
        ChromaVectors(make(), page_size=page_size)


class Refuses(chromadb.EmbeddingFunction[chromadb.Documents]):
    """An embedding function that must never be called."""

    def __init__(self) -> None: ...

    def __call__(self, input: chromadb.Documents) -> chromadb.Embeddings:
        raise AssertionError(f"Chroma was asked to embed {input}")

    @staticmethod
    def name() -> str:
        return "refuses"

    def get_config(self) -> dict[str, object]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, object]) -> "Refuses":
        return Refuses()


def _stand_in(configuration: object, metadata: object) -> Collection:
    return cast(
        Collection,
        SimpleNamespace(name="old", configuration_json=configuration, metadata=metadata),
    )
