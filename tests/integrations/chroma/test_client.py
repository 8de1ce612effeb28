"""A client that gives up on a server which does not answer."""

import json
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from chroma_instruct_embeddings.client import http_client
from chroma_instruct_embeddings.errors import reachable
from chroma_instruct_embeddings.vectors import ChromaVectors
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


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "3", None, True])
def test_a_timeout_is_positive(timeout: Any) -> None:
    with pytest.raises(ConfigError, match="positive number of seconds"):
        http_client(HOST, 1, timeout=timeout)


def test_what_is_no_matter_of_the_connection_passes() -> None:
    with pytest.raises(KeyError), reachable("there"):
        raise KeyError("ids")


ID = "12345678-1234-1234-1234-123456789abc"
COLLECTION = {
    "id": ID,
    "name": "reviews",
    "configuration_json": {"hnsw": {"space": "cosine"}},
    "metadata": None,
    "dimension": 2,
    "tenant": "default_tenant",
    "database": "default_database",
    "version": 0,
    "log_position": 0,
}
ANSWERS: dict[str, Any] = {
    "heartbeat": {"nanosecond heartbeat": 1},
    "identity": {"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]},
    "default_tenant": {"name": "default_tenant"},
    "default_database": {"id": ID, "name": "default_database", "tenant": "default_tenant"},
    "pre-flight-checks": {"max_batch_size": 100},
    "reviews": COLLECTION,
    "count": 3,
}


class Server:
    """Answers as a Chroma server would, and otherwise where told to.

    Attributes:
        answers: What it says, by the last part of the path.
        slow: Last part of the path whose answer comes a byte at a time; "*" for all.
        part: What of it is slow, the "head" or the "body".
    """

    def __init__(self) -> None:
        self.answers = dict(ANSWERS)
        self.slow, self.part, self.pause = "", "body", 0.1
        self.status = 200
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        length = 0
        with connection:
            try:
                asked = connection.makefile("rb")
                place = asked.readline().split()[1].decode().partition("?")[0].rpartition("/")[2]
                while line := asked.readline().strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                asked.read(length)
                body = json.dumps(self.answers.get(place, {})).encode()
                lines = [f"HTTP/1.1 {self.status} OK", "Connection: close"]
                lines += [f"Content-Length: {len(body)}", "", ""]
                head = "\r\n".join(lines).encode()
                slow = self.slow in (place, "*")
                self._send(connection, head, slow and self.part == "head")
                self._send(connection, body, slow and self.part == "body")
            except OSError:
                return

    def _send(self, connection: socket.socket, data: bytes, slow: bool) -> None:
        if not slow:
            connection.sendall(data)
            return
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
            time.sleep(self.pause)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@contextmanager
def limited(most: float) -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < most


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_answers_a_byte_at_a_time_is_an_error_after_the_timeout(
    server: Server, part: str
) -> None:
    client = http_client(HOST, server.port, timeout=2)
    assert client.heartbeat() == 1
    server.slow, server.part = "count", part
    vectors = ChromaVectors(client.get_collection("reviews", embedding_function=None))
    # The whole answer would take a quarter of a minute.
    server.answers["count"], server.pause = 10**60, 0.25
    with limited(8), pytest.raises(UnreachableCollectionError, match=r"ReadTimeout: "):
        vectors.count()
    server.slow, server.answers["count"] = "", 3
    assert vectors.count() == 3
    close(client)


@pytest.mark.parametrize("place", ["identity", "default_tenant", "*"])
def test_making_a_client_is_limited_too(server: Server, place: str) -> None:
    server.slow, server.pause = place, 1.0
    wanted = rf"No Chroma server answers at {HOST}:{server.port} within 0\.5 seconds \(ReadTimeout"
    with limited(8), pytest.raises(UnreachableCollectionError, match=wanted):
        http_client(HOST, server.port, timeout=0.5)


@pytest.mark.parametrize("place", ["identity", "heartbeat"])
@pytest.mark.parametrize("answer", [[], {}, None, "text", 3, {"error": 1}])
def test_json_of_another_form_is_no_chroma(server: Server, place: str, answer: Any) -> None:
    if place == "heartbeat":
        client = http_client(HOST, server.port, timeout=20)
        server.answers["count"] = answer if answer != 3 else 3.5
        vectors = ChromaVectors(client.get_collection("reviews", embedding_function=None))
        with pytest.raises(UnreachableCollectionError, match="did not answer as it should"):
            vectors.count()
        close(client)
        return
    server.answers["identity"] = answer
    with pytest.raises(UnreachableCollectionError, match="JSON of another form"):
        http_client(HOST, server.port, timeout=20)


Ask = Callable[[ChromaVectors], object]
ASKS: dict[str, Ask] = {
    "query": lambda vectors: vectors.search(np.ones(2, dtype=np.float32), k=2),
    "get": lambda vectors: vectors.fetch(["a", "b"], vectors=True, records=True),
}
GOOD = {
    "query": {"ids": [["a", "b"]], "distances": [[0.1, 0.2]], "include": ["distances"]},
    "get": {
        "ids": ["a", "b"],
        "embeddings": [[1, 0], [0, 1]],
        "documents": ["x", None],
        "metadatas": [{"n": 1}, None],
        "include": [],
    },
}


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("query", {"ids": None}),
        ("query", {"ids": [[1, 2]]}),
        ("query", {"ids": []}),
        ("query", {"distances": [["a", "b"]]}),
        ("query", {"distances": [[0.1]]}),
        ("query", {"distances": {"a": 1}}),
        ("get", {"ids": "ab"}),
        ("get", {"ids": None}),
        ("get", {"ids": [1, 2]}),
        ("get", {"embeddings": [[1], [1, 2]]}),
        ("get", {"embeddings": [[1, 2]]}),
        ("get", {"embeddings": None}),
        ("get", {"embeddings": [["x", "y"], ["x", "y"]]}),
        ("get", {"documents": ["x"]}),
        ("get", {"documents": [1, 2]}),
        ("get", {"documents": "xy"}),
        ("get", {"metadatas": ["x", "y"]}),
        ("get", {"metadatas": 3}),
    ],
)
def test_rows_of_another_form_are_no_answer_of_chroma(
    server: Server, place: str, change: dict[str, Any]
) -> None:
    client = http_client(HOST, server.port, timeout=20)
    vectors = ChromaVectors(client.get_collection("reviews", embedding_function=None))
    server.answers[place] = GOOD[place]
    ASKS[place](vectors)
    server.answers[place] = {**GOOD[place], **change}  # type: ignore[dict-item]
    with pytest.raises(UnreachableCollectionError, match="did not answer as it should"):
        ASKS[place](vectors)
    server.answers[place] = []
    with pytest.raises(UnreachableCollectionError, match="did not answer as it should"):
        ASKS[place](vectors)
    close(client)


def test_the_body_of_a_refusal_shows_no_credentials(server: Server) -> None:
    client = http_client(HOST, server.port, timeout=20)
    vectors = ChromaVectors(client.get_collection("reviews", embedding_function=None))
    server.status = 401
    server.answers["count"] = {"got": "Authorization: Basic dXNlcjpwYXNz, x-api-key: abc123"}
    with pytest.raises(UnreachableCollectionError) as caught:
        vectors.count()
    shown = "".join(traceback.format_exception(caught.value))
    assert "Authorization: Basic [hidden]" in shown
    assert not any(secret in shown for secret in ("dXNlcjpwYXNz", "abc123"))
    close(client)
