"""A client of a Chroma server that does not wait for ever."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import chromadb
import httpx
from chromadb.api import ClientAPI
from chromadb.config import Settings

from chroma_instruct_embeddings.limits import limit
from chroma_instruct_embeddings.translation import is_of_the_connection, of_chroma, reason
from instruct_embeddings._redaction import redact
from instruct_embeddings._threads import within
from instruct_embeddings.config import seconds
from instruct_embeddings.errors import UnreachableCollectionError

DEFAULT_TIMEOUT = 120.0


def http_client(
    host: str = "localhost",
    port: int = 8000,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    ssl: bool = False,
    headers: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    **names: str,
) -> ClientAPI:
    """`chromadb.HttpClient` with a limit: a request that is not answered in time is an error.

    Chroma's own waits without end for a server that accepts a connection and then says nothing, or
    a byte now and then.

        client = http_client("chroma.example.com", 8000, timeout=30)
        store = Chroma("reviews", embeddings, client=client)

    Args:
        host: Name or address of the server.
        port: Its port.
        timeout: Most seconds for each request, to the last byte of its answer; and for making the
            client, which takes a few.
        ssl: Whether it is reached by https.
        headers: Sent with each request.
        settings: Further settings of Chroma.
        names: `tenant` and `database`, where they are not Chroma's defaults.

    Raises:
        ConfigError: The timeout is not positive.
        UnreachableCollectionError: No server answers there.
        ValueError, chromadb.errors.ChromaError: The server refuses, or knows no such tenant.
    """
    seconds("timeout", timeout, DEFAULT_TIMEOUT)
    place = f"{host}:{port}"

    def connect() -> ClientAPI:
        with suppress(httpx.ConnectError):  # which Chroma tells in its own words
            alive = f"http{'s' * ssl}://{place}/api/v2/heartbeat"
            with httpx.Client(headers=dict(headers or {})) as probe:
                limit(probe, timeout)
                probe.get(alive)
        with of_chroma():
            return chromadb.HttpClient(
                host, port, ssl=ssl, headers=dict(headers or {}), settings=settings, **names
            )

    with reachable(place, timeout):
        # Chroma's client asks for the tenant at once, when no limit can be set yet.
        client = _within(timeout, connect)
    # Chroma has no setting for it; this is the only place that reaches behind its client.
    behind: Any = client
    parts = (behind, behind._admin_client)
    for session in {id(part._server._session): part._server._session for part in parts}.values():
        limit(session, timeout)
    return client


def _within(timeout: float, connect: Callable[[], ClientAPI]) -> ClientAPI:
    try:
        return within(timeout, connect)
    except TimeoutError:
        raise httpx.ReadTimeout("no whole answer in time") from None


@contextmanager
def reachable(place: str, timeout: float | None = None) -> Iterator[None]:
    """Say where nobody answers as Chroma does; everything else passes.

    Raises:
        UnreachableCollectionError: The server is down, too slow, or something else answers.
    """
    try:
        yield
    except Exception as error:
        redact(error)
        if not is_of_the_connection(error):
            raise
        in_time = "" if timeout is None else f" within {timeout:g} seconds"
        raise UnreachableCollectionError(
            f"No Chroma server answers at {place}{in_time} ({reason(error)}). Check "
            "host and port, start the server or wait for it, or allow a longer timeout."
        ) from error
