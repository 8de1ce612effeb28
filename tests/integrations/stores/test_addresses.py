"""Stores by their addresses, and collections that pass as they are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import (
    CollectionError,
    ConfigError,
    MissingExtraError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.stores import collection_behind, open_store
from instruct_embeddings.testing import InMemoryCollection
from postgres_instruct_embeddings import PostgresVectors


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    client = chromadb.PersistentClient(
        str(tmp_path), settings=chromadb.Settings(anonymized_telemetry=False)
    )
    client.create_collection("tickets", embedding_function=None).add(["a"], embeddings=[[1.0, 0.0]])
    yield tmp_path
    client.clear_system_cache()


def test_a_folder_of_chroma_is_opened(folder: Path) -> None:
    found = open_store(f"chroma:{folder}", "tickets")
    assert isinstance(found, ChromaVectors)
    assert found.count() == 1


def test_a_collection_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(CollectionError, match=r"'reviews'.*holds: tickets"):
        open_store(f"chroma:{folder}", "reviews")


def test_a_folder_without_a_database_is_not_made_one(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"no Chroma database"):
        open_store(f"chroma:{tmp_path / 'new'}", "tickets")
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(UnreachableCollectionError, match=r"127\.0\.0\.1:9"):
        open_store("chroma://127.0.0.1:9", "tickets", timeout=5)


@pytest.mark.parametrize("where", ["u:hunter2@host", "host/path", "host:port", ""])
def test_an_address_of_chroma_is_a_host_and_a_port(where: str) -> None:
    with pytest.raises(ConfigError, match=r"chroma://host:8000") as caught:
        open_store(f"chroma://{where}", "tickets")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_table_of_postgresql_is_opened_when_it_is_asked(scheme: str) -> None:
    found = open_store(f"{scheme}://user@127.0.0.1:9/database", "tickets", id_column="key")
    assert isinstance(found, PostgresVectors)
    with pytest.raises(UnreachableCollectionError):
        found.info()


@pytest.mark.parametrize("address", ["redis://u:hunter2@host", "tickets", "", "pinecone:x", None])
def test_unknown_addresses_are_told_the_known_ones(address: str) -> None:
    with pytest.raises(ConfigError, match=r"Known are chroma:FOLDER.*postgresql://") as caught:
        open_store(address, "tickets")
    assert "hunter2" not in str(caught.value)


def test_an_adapter_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "postgres_instruct_embeddings", None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[postgres\]"):
        open_store("postgresql://host/database", "tickets")


def test_a_collection_passes_as_it_is() -> None:
    collection = InMemoryCollection(space="cosine", id="one")
    assert collection_behind(collection) is collection


def test_what_is_none_is_told_what_is_accepted() -> None:
    for other in ("chroma", None, InMemoryCollection, object()):
        with pytest.raises(UnsupportedCollectionError, match=r"Chroma, Milvus, Qdrant and Postgre"):
            collection_behind(other)
