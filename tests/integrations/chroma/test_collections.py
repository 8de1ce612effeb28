"""A collection remembers what filled it, and refuses what does not fit."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from chromadb.errors import NotFoundError

from chroma_instruct_embeddings import (
    InstructEmbeddingFunction,
    check_collection,
    open_collection,
    record_collection,
)
from instruct_embeddings.errors import (
    CollectionMismatchError,
    UnsupportedCollectionError,
)
from tests.chroma_server import HOST
from tests.integrations.chroma.hosts import HostEmbedding, recorded, with_rows
from tests.models import tiny_checkpoint

SHAPE = "what shape is it"


def test_a_new_collection_measures_cosines_and_remembers(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    collection = open_collection(client, name, function)
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    assert recorded(client, name) == function.record
    collection.add(ids=["red", "cube"], documents=["red", "a cube"])
    again = open_collection(client, name, function)
    assert again.query(query_texts=["a cube"], n_results=1)["ids"] == [["cube"]]


def test_what_another_host_fills_is_opened_by_all_that_fit(
    client: ClientAPI, name: str, host: HostEmbedding, function: InstructEmbeddingFunction
) -> None:
    collection = with_rows(open_collection(client, name, host))
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    assert recorded(client, name) == host.record
    with (
        pytest.warns(DeprecationWarning, match="legacy"),
        pytest.raises(ValueError, match="must provide an embedding function"),
    ):
        collection.query(query_texts=["a cube"])
    found = open_collection(client, name, function).query(query_texts=["a cube"])
    assert found["ids"] == [["a"]]


def test_a_collection_that_stores_an_equal_function_is_recorded_when_it_is_opened(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    client.create_collection(name, embedding_function=function, metadata={"owner": "me"})
    opened = open_collection(client, name, function.with_instruction(SHAPE))
    assert recorded(client, name) == function.record
    assert opened.metadata == {"owner": "me"} | function.record.to_metadata()


def test_an_empty_collection_without_a_record_is_recorded_when_it_is_opened(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    client.create_collection(name, embedding_function=None)
    open_collection(client, name, function)
    assert recorded(client, name) == function.record


def test_a_collection_with_the_function_of_somebody_else_is_refused(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction, host: HostEmbedding
) -> None:
    collection = client.create_collection(name)
    assert collection.configuration_json["embedding_function"]["name"] == "default"
    with pytest.raises(CollectionMismatchError, match=r"'default'.*InstructEmbeddingFunction\("):
        open_collection(client, name, function)
    assert recorded(client, name) is None
    check_collection(collection, host)


def test_a_missing_collection_is_not_made_unless_asked(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    with pytest.raises(NotFoundError):
        open_collection(client, name, function, create=False)
    assert open_collection(client, name, function).count() == 0
    assert open_collection(client, name, function, create=False).count() == 0


def test_a_new_collection_takes_metadata_and_configuration(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    metadata, configuration = {"owner": "me"}, {"hnsw": {"ef_search": 77}}
    made = open_collection(client, name, function, metadata=metadata, configuration=configuration)
    assert made.metadata == {"owner": "me"} | function.record.to_metadata()
    index = made.configuration_json["hnsw"]
    assert (index["space"], index["ef_search"]) == ("cosine", 77)
    assert (metadata, configuration) == ({"owner": "me"}, {"hnsw": {"ef_search": 77}})


def test_a_new_collection_may_have_the_index_of_chroma_cloud(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    """An embedded Chroma makes its own kind of it, with the same distance."""
    made = open_collection(client, name, function, configuration={"spann": {"search_nprobe": 9}})
    index = made.configuration_json["spann"] or made.configuration_json["hnsw"]
    assert index["space"] == "cosine"


@pytest.mark.parametrize(
    "asked", [{"configuration": {"hnsw": {"space": "ip"}}}, {"metadata": {"hnsw:space": "ip"}}]
)
def test_a_new_collection_takes_another_distance(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction, asked: dict[str, Any]
) -> None:
    made = open_collection(client, name, function, **asked)
    assert made.configuration_json["hnsw"]["space"] == "ip"
    assert recorded(client, name) == function.record


def test_several_that_open_it_at_once_get_one_collection(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_collection(client, name, function), range(8)))
    assert len({collection.id for collection in found}) == 1
    assert recorded(client, name) == function.record


def test_recording_keeps_other_metadata_and_the_distance(
    client: ClientAPI, name: str, host: HostEmbedding
) -> None:
    metadata = {"owner": "me", "hnsw:space": "cosine", "hnsw:search_ef": 55}
    collection = with_rows(
        client.create_collection(name, metadata=metadata, embedding_function=None)
    )
    record_collection(collection, host)
    record_collection(collection, host)
    opened = client.get_collection(name, embedding_function=None)
    kept = {"owner": "me", "hnsw:search_ef": 55} | host.record.to_metadata()
    assert opened.metadata == collection.metadata == kept
    assert opened.configuration_json["hnsw"]["space"] == "cosine"
    vector = np.full((1, 32), 1, dtype=np.float32)
    found = opened.query(query_embeddings=vector, include=["distances"])["distances"]
    assert found is not None
    np.testing.assert_allclose(found, [[1 - 1 / np.sqrt(32)]], atol=1e-6)
    check_collection(opened, host)
    with pytest.raises(CollectionMismatchError):
        check_collection(opened, HostEmbedding(tiny_checkpoint(), SHAPE))


def test_a_distance_that_stands_in_the_metadata_alone_is_not_lost(
    client: ClientAPI, name: str, host: HostEmbedding
) -> None:
    metadata = {"hnsw:space": "cosine"}
    collection = with_rows(
        client.create_collection(name, metadata=metadata, embedding_function=None)
    )
    # What a collection of Chroma 0.5 says of itself to Chroma 1.
    collection.configuration_json["hnsw"]["space"] = "l2"
    with pytest.raises(UnsupportedCollectionError, match=r"old Chroma.*'cosine'.*Copy"):
        record_collection(collection, host)
    assert client.get_collection(name, embedding_function=None).metadata == metadata


def test_asynchronous_clients_and_what_is_no_client_are_refused(
    port: int, name: str, function: InstructEmbeddingFunction
) -> None:
    import asyncio

    client = asyncio.run(chromadb.AsyncHttpClient(host=HOST, port=port))
    for wrong in (client, "chroma"):
        with pytest.raises(UnsupportedCollectionError, match="synchronous client"):
            open_collection(wrong, name, function)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedCollectionError, match="Cannot read vectors from a str"):
        check_collection("chroma", function)
