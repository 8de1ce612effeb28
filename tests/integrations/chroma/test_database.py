"""A database of Chroma by its address."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.database import ChromaDatabase
from instruct_embeddings.errors import CollectionError, ConfigError, UnreachableCollectionError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[ChromaDatabase]:
    """An empty one in a folder."""
    with ChromaDatabase(f"chroma:{tmp_path}") as made:
        made.client(create=True)
        yield made


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("chroma:x", "x"),
        ("chroma:/x/y?tenant=shop", "/x/y"),
        ("chroma://there", "there:8000"),
        ("chroma://there:9/", "there:9"),
        ("chroma://[::1]:9", "[::1]:9"),
    ],
)
def test_a_database_is_a_folder_or_a_server(address: str, shown: str) -> None:
    assert str(ChromaDatabase(address)) == shown


def test_what_stands_behind_the_question_mark_is_kept() -> None:
    found = ChromaDatabase("chroma://there?ssl=true&tenant=shop&database=x%20y")
    assert found.ssl
    assert found.names == {"tenant": "shop", "database": "x y"}
    assert not ChromaDatabase("chroma://there?ssl=false").ssl


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("x", "is none"),
        ("qdrant:x", "is none"),
        ("chroma:", "is none"),
        ("chroma:x?tenant=", "is none"),
        ("chroma:x?color=red", "has the option 'color'"),
        ("chroma://there?ssl=1", "has ssl='1'"),
        ("chroma:x?ssl=true", "is a folder"),
        ("chroma:///x", "names no host"),
        ("chroma://there/x", "more than host and port"),
        ("chroma://there:secret", "no port"),
        ("chroma://[there", "no port"),
        ("chroma://me:secret@there", "holds a user or a password"),
    ],
)
def test_other_addresses_are_refused_and_passwords_not_repeated(address: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        ChromaDatabase(address)
    assert "chroma:FOLDER" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_folder_takes_nothing_of_a_server() -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        ChromaDatabase("chroma:x", headers={"X-Team": "search"})
    with pytest.raises(ConfigError, match="is a folder"):
        ChromaDatabase("chroma:x", timeout=3)


def test_a_folder_without_a_database_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="no Chroma database in"):
        ChromaDatabase(f"chroma:{tmp_path / 'none'}").client()
    assert not (tmp_path / "none").exists()


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CollectionError, match="cannot be opened"):
        ChromaDatabase(f"chroma:{file}/db").client(create=True)


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CollectionError, match=f"No Chroma server answers at 127.0.0.1:{port}"):
        ChromaVectors.open(f"chroma://127.0.0.1:{port}", "rows")


def test_a_server_that_says_nothing_is_an_error_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"chroma://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableCollectionError, match=r"within 0\.3 seconds"):
            ChromaVectors.open(address, "rows", timeout=0.3)


def test_a_collection_is_opened_by_its_name(database: ChromaDatabase) -> None:
    made = database.client().create_collection("apples", embedding_function=None)
    made.add(ids=["a"], embeddings=[[1.0, 0.0]])
    found = ChromaVectors.open(database.address, "apples")
    assert (found.count(), found.info().name) == (1, "apples")
    found.close()


def test_a_missing_collection_lists_the_others(database: ChromaDatabase) -> None:
    database.client().create_collection("apples", embedding_function=None)
    with pytest.raises(CollectionError, match=r"no collection 'pears' .* It holds: apples\."):
        database.collection("pears")


def test_where_there_is_no_collection_the_command_for_one_is_named(
    database: ChromaDatabase,
) -> None:
    made = f"instruct-embeddings index FILE --store {database.address} --collection pears"
    with pytest.raises(CollectionError, match=re.escape(f"It holds none. Make one with: {made}")):
        database.collection("pears")
