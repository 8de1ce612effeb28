"""A client of a Chroma server that does not wait for ever."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import chromadb
import httpx
from chromadb.api import ClientAPI
from chromadb.config import Settings

from chroma_instruct_embeddings.translation import is_of_the_connection, reason
from instruct_embeddings.errors import ConfigError, UnreachableCollectionError

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

    Chroma's own waits without end for a server that accepts a connection and then says nothing.

        client = http_client("chroma.example.com", 8000, timeout=30)
        store = Chroma("reviews", embeddings, client=client)

    Args:
        host: Name or address of the server.
        port: Its port.
        timeout: Most seconds without a sign of the server, for each request.
        ssl: Whether it is reached by https.
        headers: Sent with each request.
        settings: Further settings of Chroma.
        names: `tenant` and `database`, where they are not Chroma's defaults.

    Raises:
        ConfigError: The timeout is not positive.
        UnreachableCollectionError: No server answers there.
        ValueError, chromadb.errors.ChromaError: The server refuses, or knows no such tenant.
    """
    if not timeout > 0:
        raise ConfigError(f"timeout={timeout!r} is not a positive number of seconds.")
    place = f"{host}:{port}"
    with reachable(place, timeout):
        # Chroma's client asks for the tenant at once, when no limit can be set yet.
        with suppress(httpx.ConnectError):  # which it tells in its own words
            alive = f"http{'s' * ssl}://{place}/api/v2/heartbeat"
            httpx.get(alive, timeout=timeout, headers=dict(headers or {}))
        client = chromadb.HttpClient(
            host, port, ssl=ssl, headers=dict(headers or {}), settings=settings, **names
        )
    # Chroma has no setting for it; this is the only place that reaches behind its client.
    behind: Any = client
    behind._server._session.timeout = httpx.Timeout(timeout)
    return client


@contextmanager
def reachable(place: str, timeout: float | None = None) -> Iterator[None]:
    """Say where nobody answers as Chroma does; everything else passes.

    Raises:
        UnreachableCollectionError: The server is down, too slow, or something else answers.
    """
    try:
        yield
    except Exception as error:
        if not is_of_the_connection(error):
            raise
        within = "" if timeout is None else f" within {timeout:g} seconds"
        raise UnreachableCollectionError(
            f"No Chroma server answers at {place}{within} ({reason(error)}). Check "
            "host and port, start the server or wait for it, or allow a longer timeout."
        ) from error
