"""Vectors of another model, instruction or shape are told apart and refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from chromadb.api import ClientAPI

from chroma_instruct_embeddings import (
    InstructEmbeddingFunction,
    check_collection,
    open_collection,
    record_collection,
)
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
)
from tests.integrations.chroma.hosts import HostEmbedding, recorded, with_rows
from tests.models import INSTRUCTION, tiny, tiny_checkpoint

SHAPE = "what shape is it"
CONFIGURATION: Any = {"hnsw": {"space": "cosine"}}


def others() -> list[Any]:
    """Embeddings that do not fit to `function`: by instruction, model, dimension, precision."""
    model = tiny_checkpoint()
    return [
        InstructEmbeddingFunction(model, instruction=SHAPE),
        InstructEmbeddingFunction(model, query_instruction=INSTRUCTION),
        InstructEmbeddingFunction(tiny(), instruction=INSTRUCTION),
        InstructEmbeddingFunction(model, instruction=INSTRUCTION, truncate_dim=16),
        InstructEmbeddingFunction(model, instruction=INSTRUCTION, precision="int8"),
        HostEmbedding(model, SHAPE),
        HostEmbedding(model, None),
        HostEmbedding(tiny(), INSTRUCTION),
    ]


@pytest.mark.parametrize("other", range(8))
def test_a_recorded_collection_refuses_what_does_not_fit(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction, other: int
) -> None:
    wrong = others()[other]
    collection = open_collection(client, name, function)
    for use in (
        lambda: open_collection(client, name, wrong),
        lambda: check_collection(collection, wrong),
        lambda: record_collection(collection, wrong),
    ):
        with pytest.raises(CollectionMismatchError) as error:
            use()
        message = str(error.value)
        assert str(function.record) in message
        assert str(wrong.record) in message
    assert recorded(client, name) == function.record


@pytest.mark.parametrize("other", range(8))
def test_a_collection_that_stores_the_function_refuses_what_does_not_fit(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction, other: int
) -> None:
    wrong = others()[other]
    collection = client.create_collection(name, embedding_function=function)
    for use in (
        lambda: open_collection(client, name, wrong),
        lambda: check_collection(collection, wrong),
        lambda: record_collection(collection, wrong),
    ):
        with pytest.raises(CollectionMismatchError) as error:
            use()
        message = str(error.value)
        assert function.record.model in message
        assert repr(INSTRUCTION) in message
        assert str(wrong.record) in message
    assert recorded(client, name) is None


def test_the_other_hosts_fit_a_collection_that_stores_the_function(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction, host: HostEmbedding
) -> None:
    collection = client.create_collection(name, embedding_function=function)
    check_collection(collection, host)
    open_collection(client, name, host)
    assert recorded(client, name) == host.record


def test_a_stored_function_whose_model_moved_is_known_by_its_content(
    client: ClientAPI, name: str, tmp_path: Path
) -> None:
    shutil.copytree(tiny_checkpoint(), tmp_path / "old")
    filled = InstructEmbeddingFunction(tmp_path / "old", instruction=INSTRUCTION)
    collection = client.create_collection(name, embedding_function=filled)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = InstructEmbeddingFunction(tmp_path / "new", instruction=INSTRUCTION)
    check_collection(collection, moved)
    with pytest.raises(CollectionMismatchError, match=f"'{SHAPE}'"):
        check_collection(collection, InstructEmbeddingFunction(tmp_path / "new", instruction=SHAPE))
    with pytest.raises(CollectionMismatchError, match="tiny-bert"):
        check_collection(collection, InstructEmbeddingFunction(tiny(), instruction=INSTRUCTION))


def test_a_stored_model_out_of_reach_is_known_by_its_name_but_not_recorded(
    client: ClientAPI, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "here" / "model"
    shutil.copytree(tiny_checkpoint(), folder)
    filled = InstructEmbeddingFunction(folder, instruction=INSTRUCTION)
    client.create_collection(name, embedding_function=filled)
    (tmp_path / "here").rename(tmp_path / "there")
    fits = HostEmbedding(tmp_path / "there" / "model", INSTRUCTION)
    collection = open_collection(client, name, fits)
    assert recorded(client, name) is None
    with pytest.raises(CollectionMismatchError, match="tiny-bert"):
        check_collection(collection, HostEmbedding(tiny(), INSTRUCTION))
    record_collection(collection, fits)
    assert recorded(client, name) == fits.record


def test_another_model_is_not_fetched_to_tell_that_it_is_another(
    client: ClientAPI, name: str, host: HostEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[bool] = []

    def fetch(*args: object, local_files_only: bool, **options: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        fetched.append(not local_files_only)
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    filled = InstructEmbeddingFunction("some/model", instruction=INSTRUCTION)
    collection = client.create_collection(name, embedding_function=filled)
    with pytest.raises(CollectionMismatchError, match="'some/model'"):
        check_collection(collection, host)
    assert fetched == [False]


def test_a_stored_configuration_of_a_newer_version_is_not_guessed_at(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    collection = client.create_collection(name, embedding_function=function)
    collection.configuration_json["embedding_function"]["config"]["invention"] = True
    with pytest.raises(ConfigError, match=r"unknown settings \['invention'\].*Upgrade"):
        check_collection(collection, function)


def test_without_a_record_the_dimension_decides_and_nothing_is_recorded(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    fits = with_rows(client.create_collection(name, embedding_function=None))
    check_collection(fits, function)
    open_collection(client, name, function)
    assert recorded(client, name) is None
    wide = with_rows(client.create_collection(f"{name}-wide", embedding_function=None), 48)
    for use in (
        lambda: check_collection(wide, function),
        lambda: open_collection(client, wide.name, function),
        lambda: record_collection(wide, function),
    ):
        with pytest.raises(CollectionMismatchError, match=r"48 dimensions.*\(32 dimensions"):
            use()


def test_stores_of_the_hosts_are_checked_and_recorded(
    client: ClientAPI, name: str, host: HostEmbedding
) -> None:
    langchain_chroma = pytest.importorskip("langchain_chroma")
    llama_index_chroma = pytest.importorskip("llama_index.vector_stores.chroma")
    store = langchain_chroma.Chroma(name, client=client, collection_configuration=CONFIGURATION)
    record_collection(store, host)
    opened = client.get_collection(name, embedding_function=None)
    other = llama_index_chroma.ChromaVectorStore(chroma_collection=opened)
    for source in (store, other, opened):
        check_collection(source, host)
        with pytest.raises(CollectionMismatchError, match=f"{INSTRUCTION}.*{SHAPE}"):
            check_collection(source, HostEmbedding(tiny_checkpoint(), SHAPE))


def test_a_refused_modify_does_not_deceive_a_record(
    client: ClientAPI, name: str, function: InstructEmbeddingFunction
) -> None:
    other = function.with_instruction(SHAPE, document_instruction=SHAPE)
    collection = open_collection(client, name, function)
    with pytest.raises(CollectionMismatchError):
        collection.modify(configuration={"embedding_function": other})
    check_collection(client.get_collection(name, embedding_function=None), function)
    with pytest.raises(CollectionMismatchError):
        open_collection(client, name, other)
