"""A client that gives up on a server which does not answer."""

import socket
from collections.abc import Iterator

import pytest

from chroma_instruct_embeddings.client import http_client, reachable
from instruct_embeddings.errors import ConfigError, UnreachableCollectionError
from tests.chroma_server import HOST, close


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        found.listen()
        yield found.getsockname()[1]


def test_a_server_that_says_nothing_is_an_error_after_the_timeout(silent: int) -> None:
    wanted = rf"No Chroma server answers at {HOST}:{silent} within 0\.2 seconds \(ReadTimeout"
    with pytest.raises(UnreachableCollectionError, match=wanted):
        http_client(HOST, silent, timeout=0.2)


def test_every_request_has_the_timeout_and_the_headers(port: int, silent: int) -> None:
    client = http_client(HOST, port, timeout=5, headers={"X-Team": "search"})
    session = client._server._session  # type: ignore[attr-defined]
    assert session.timeout.read == session.timeout.connect == 5
    assert session.headers["X-Team"] == "search"
    assert client.heartbeat() > 0
    close(client)


def test_a_refused_connection_is_told_in_chromas_words() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free = probe.getsockname()[1]
    with pytest.raises(ValueError, match="Could not connect to a Chroma server"):
        http_client(HOST, free, timeout=5)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_is_positive(timeout: float) -> None:
    with pytest.raises(ConfigError, match="positive number of seconds"):
        http_client(HOST, 1, timeout=timeout)


def test_what_is_no_matter_of_the_connection_passes() -> None:
    with pytest.raises(KeyError), reachable("there"):
        raise KeyError("ids")
