"""A client of a Chroma server that does not wait for ever."""

import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from http.client import NOT_FOUND
from typing import Any, cast
from urllib.parse import quote

import chromadb
import httpcore
import httpx
from chromadb.api import ClientAPI
from chromadb.config import Settings
from chromadb.errors import NotFoundError

from chroma_instruct_embeddings.errors import MALFORMED, AnswerError, reachable, reason
from instruct_embeddings._threads import within
from instruct_embeddings.config import seconds

DEFAULT_TIMEOUT = 120.0
_PIECE = 65_536  # written at once, so that a slow server is noticed in between

_deadline: ContextVar[float] = ContextVar("_deadline")


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
        names: `tenant` and `database`, instead of Chroma's defaults.

    Raises:
        ConfigError: The timeout is not positive.
        UnreachableCollectionError: No server answers there.
        ValueError, chromadb.errors.ChromaError: The server refuses, or knows no such tenant.
    """
    seconds("timeout", timeout)

    def connect() -> ClientAPI:
        # Of a tenant that is not there, Chroma's client would leave its connection open.
        tenant = names.get("tenant", "")
        there = f"http{'s' * ssl}://{host}:{port}/api/v2/tenants/{quote(tenant, safe='')}"
        with suppress(httpx.ConnectError), httpx.Client(headers=dict(headers or {})) as probe:
            if tenant and probe.get(there, timeout=timeout).status_code == NOT_FOUND:
                raise NotFoundError(f"Tenant [{tenant}] not found")
        return chromadb.HttpClient(
            host, port, ssl=ssl, headers=dict(headers or {}), settings=settings, **names
        )

    with reachable(f"{host}:{port}", timeout):
        try:
            # Chroma's client asks for the tenant at once, when no limit can be set yet.
            client = within(timeout, connect)
        except TimeoutError:
            raise httpx.ReadTimeout("no whole answer in time") from None
        except ValueError as error:
            if not isinstance(error.__context__, MALFORMED):  # which Chroma rewords
                raise
            raise AnswerError(f"JSON of another form, {reason(error)}") from error
    for session in _sessions(client):  # Chroma has no setting for it
        _limit(session, timeout)
    return client


def close_client(client: ClientAPI) -> None:
    """Close all connections to a server; Chroma's own `close()` leaves those for administration."""
    for session in _sessions(client):
        session.close()


def _sessions(client: ClientAPI) -> list[httpx.Client]:
    # This is the only place that reaches behind Chroma's client.
    behind: Any = client
    return list({one._server._session for one in (behind, behind._admin_client)})


def _limit(client: httpx.Client, seconds: float) -> None:
    """Let no request take longer in all; the timeouts of httpx begin anew with every byte."""
    client.timeout = httpx.Timeout(seconds)
    client.event_hooks["request"].append(lambda _: _deadline.set(time.monotonic() + seconds))
    # httpx takes no backend; these are the only places where one can be put.
    behind: Any = client
    for transport in (behind._transport, *behind._mounts.values()):
        if transport is not None:
            transport._pool._network_backend = _Backend()


def _left(error: type[Exception]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise error("the request took longer in all than it may")
    return left


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *where: Any, **options: Any) -> httpcore.NetworkStream:
        stream = super().connect_tcp(*where, **options)
        return cast(httpcore.NetworkStream, _Stream(stream))


class _Stream:
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, most: int, timeout: object = None) -> bytes:
        return self._inner.read(most, _left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: object = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[start : start + _PIECE], _left(httpcore.WriteTimeout))

    def start_tls(self, **options: Any) -> "_Stream":
        return _Stream(self._inner.start_tls(**options))
