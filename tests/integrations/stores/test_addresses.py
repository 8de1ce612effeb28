"""Stores by their addresses, and collections that pass as they are."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import chromadb
import pytest
from pymilvus import MilvusClient
from qdrant_client import QdrantClient, models

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
from qdrant_instruct_embeddings.client import open_client


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


@pytest.mark.parametrize("address", ["qdrant://host?ssl=true", "qdrant://a%2Fb@host?ssl=true"])
def test_the_key_of_qdrant_comes_from_the_environment_or_the_address(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "from outside")
    with closing(open_client(address)) as client:
        asked = client.init_options["api_key"]
    assert asked == ("a/b" if "@" in address else "from outside")


def test_a_server_of_milvus_is_reached_by_https_with_a_token_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    class Unreached(MilvusClient):
        def __init__(self, **options: Any) -> None:
            asked.append(options)
            raise OSError("nothing is asked here")

    monkeypatch.setattr("milvus_instruct_embeddings.requests.MilvusClient", Unreached)
    monkeypatch.setenv("MILVUS_TOKEN", "from outside")
    for address in ("milvus://host/shop", "milvus://a%2Fb:c@host:9?ssl=true"):
        with pytest.raises(OSError, match="nothing is asked here"):
            open_store(address, "tickets").info()
    assert [(one["uri"], one["token"], one["db_name"]) for one in asked] == [
        ("http://host:19530", "from outside", "shop"),
        ("https://host:9", "a/b:c", ""),
    ]
    with pytest.raises(ConfigError, match="ssl=true"):
        open_store("milvus://host?secure=true", "tickets")


def test_a_folder_of_qdrant_is_free_again_when_a_collection_was_not_there(tmp_path: Path) -> None:
    vectors = models.VectorParams(size=2, distance=models.Distance.COSINE)
    with closing(QdrantClient(path=str(tmp_path))) as client:
        client.create_collection("tickets", vectors)
    with pytest.raises(CollectionError, match="nowhere") as caught:
        open_store(f"qdrant:{tmp_path}", "nowhere")
    # While the error, and with it all that its traceback shows, is still there.
    found = open_store(f"qdrant:{tmp_path}", "tickets")
    assert found.count() == 0
    assert caught.value
    found.close()  # type: ignore[attr-defined]
