"""Bad input and servers that fail: said in the words of the project, and nothing is lost."""

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    StaleCollectionError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)
from qdrant_instruct_embeddings import QdrantVectors
from tests.integrations.qdrant.conftest import NAME, fill
from tests.qdrant_server import Qdrant

TWO = [[1.0, 0.0], [0.0, 1.0]]
QUERY = np.array([1, 0], np.float32)


def test_a_collection_that_is_not_there_names_those_that_are(client: QdrantClient) -> None:
    with pytest.raises(UnsupportedCollectionError, match="'ticket' is not there; there are none"):
        QdrantVectors(client, "ticket").info()
    fill(client, TWO)
    with pytest.raises(UnsupportedCollectionError, match="is not there; there are 'tickets'"):
        QdrantVectors(client, "ticket").search(QUERY, k=1)


def test_a_collection_that_goes_away_or_changes_is_noticed(client: QdrantClient) -> None:
    fill(client, TWO)
    vectors = QdrantVectors(client, NAME)
    assert vectors.count() == 2
    client.delete_collection(NAME)
    with pytest.raises(StaleCollectionError, match="no longer what was opened"):
        vectors.count()
    with pytest.raises(UnsupportedCollectionError, match="is not there"):
        vectors.count()
    fill(client, np.eye(3))
    assert vectors.count() == 3


def test_a_collection_that_was_made_anew_with_other_vectors(remote: QdrantClient) -> None:
    fill(remote, TWO)
    vectors = QdrantVectors(remote, NAME)
    assert vectors.search(QUERY, k=1).ids == ("0",)
    remote.delete_collection(NAME)
    fill(remote, np.eye(3))
    with pytest.raises(CollectionMismatchError, match=r"has 2 dimensions.* vectors of 3\."):
        vectors.search(QUERY, k=1)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({'a"b': 1}, "holds a double quote"),
        ({"$native": 3}, r"\$native takes a filter of Qdrant, got 3"),
        ({"$native": {"mist": []}}, r"\$native takes a filter of Qdrant"),
    ],
)
def test_filters_that_are_none(client: QdrantClient, where: Any, message: str) -> None:
    fill(client, TWO)
    with pytest.raises(ConfigError, match=message):
        QdrantVectors(client, NAME).search(QUERY, k=1, where=where)
    with pytest.raises(ConfigError, match=message):
        list(QdrantVectors(client, NAME).scan(where=where))


def test_filters_are_values_never_requests(client: QdrantClient) -> None:
    fill(client, TWO)
    vectors = QdrantVectors(client, NAME)
    for nasty in ("'; DROP", "%s", "{0}", "\\", "a\x00b", "\ud800"):
        where = {"n": nasty}
        try:
            assert len(vectors.search(QUERY, k=2, where=where)) == 0
            assert len(vectors.search(QUERY, k=2, where={"n": {"$ne": nasty}})) == 2
        except (ConfigError, UnicodeError):
            assert nasty == "\ud800"


def test_texts_without_a_condition_for_them(
    local: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(local, TWO)
    monkeypatch.delattr(models, "MatchSubstring", raising=False)
    vectors = QdrantVectors(local, NAME)
    assert not vectors.capabilities.text_filters
    with pytest.raises(ConfigError, match=r"where_document cannot be obeyed: .* older than 1\.20"):
        vectors.search(QUERY, k=1, where_document={"$contains": "a"})


def test_what_the_server_refuses_is_quoted(remote: QdrantClient) -> None:
    fill(remote, TWO)
    path = models.FieldCondition(key='n"', match=models.MatchValue(value=1))
    with pytest.raises(ConfigError, match=r"does not take what was asked.*400: Wrong input"):
        QdrantVectors(remote, NAME).search(
            QUERY, k=1, where={"$native": models.Filter(must=[path])}
        )


def test_a_key_that_is_wrong_is_not_told(address: str, behind: Qdrant) -> None:
    behind.key = "right"
    with pytest.warns(UserWarning, match="insecure connection"):
        vectors = QdrantVectors(address.replace("://", "://hunter22@"), NAME)
    with pytest.raises(UnsupportedCollectionError, match=r"does not let .*\(401: Must") as raised:
        vectors.info()
    shown = f"{raised.value} {raised.value.__cause__!r} {vectors!r}"
    assert "hunter22" not in shown
    vectors.close()


def test_nobody_at_the_address() -> None:
    vectors = QdrantVectors("qdrant://127.0.0.1:1", NAME)
    with pytest.raises(UnreachableCollectionError, match=r"did not answer .*ConnectError.*nothing"):
        vectors.search(QUERY, k=1)
    vectors.close()


def test_a_client_that_was_closed(client: QdrantClient) -> None:
    fill(client, TWO)
    vectors = QdrantVectors(client, NAME)
    vectors.close()  # which leaves a client alone that it was given
    assert vectors.count() == 2
    client.close()
    with pytest.raises(UnreachableCollectionError, match="closed"):
        vectors.info()


@pytest.fixture
def silent() -> Iterator[str]:
    """Accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_says_nothing(silent: str) -> None:
    client = QdrantClient(silent, timeout=1, check_compatibility=False)
    with pytest.raises(UnreachableCollectionError, match="timed out"):
        QdrantVectors(client, NAME).info()
    client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 429 Slow down\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<htm>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{",
        b"220 smtp.example.com ESMTP\r\n",
        b"",
    ],
)
def test_what_is_no_qdrant(behind: Qdrant, address: str, answer: bytes) -> None:
    behind.raw = answer
    vectors = QdrantVectors(address, NAME)
    with pytest.raises(UnreachableCollectionError, match="did not answer as it should"):
        vectors.info()
    vectors.close()


def test_a_server_that_dies_and_comes_back(remote: QdrantClient, behind: Qdrant) -> None:
    fill(remote, TWO)
    vectors = QdrantVectors(remote, NAME)
    before = vectors.info()
    behind.raw = b""
    for _ in range(2):
        with pytest.raises(UnreachableCollectionError, match="nothing was changed"):
            vectors.search(QUERY, k=1)
    behind.raw = None
    assert vectors.search(QUERY, k=1).ids == ("0",)
    assert vectors.info() == before
