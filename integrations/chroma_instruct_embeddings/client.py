"""A client of a Chroma server that does not wait for ever."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.client import NOT_FOUND
from math import inf
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

import chromadb
import httpcore
import httpx
from chromadb.api import ClientAPI
from chromadb.config import Settings
from chromadb.errors import NotFoundError

from chroma_instruct_embeddings.errors import is_of_the_connection, malformed, reason
from instruct_embeddings._printable import redact
from instruct_embeddings._threads import within
from instruct_embeddings.config import seconds
from instruct_embeddings.errors import UnreachableCollectionError

DEFAULT_TIMEOUT = 120.0
# Written at once, so that a server that takes its time is noticed in between.
_PIECE = 65_536

_deadline: ContextVar[float] = ContextVar("_deadline", default=inf)


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
    seconds("timeout", timeout)
    address = f"{host}:{port}"

    def connect() -> ClientAPI:
        with suppress(httpx.ConnectError):  # which Chroma tells in its own words
            api = f"http{'s' * ssl}://{address}/api/v2"
            with httpx.Client(headers=dict(headers or {})) as probe:
                limit(probe, timeout)
                probe.get(f"{api}/heartbeat")
                tenant = names.get("tenant", "")
                # Chroma would leave the connection of a client open whose tenant is not there.
                there = f"{api}/tenants/{quote(tenant, safe='')}"
                if tenant and probe.get(there).status_code == NOT_FOUND:
                    raise NotFoundError(f"Tenant [{tenant}] not found")
        try:
            return chromadb.HttpClient(
                host, port, ssl=ssl, headers=dict(headers or {}), settings=settings, **names
            )
        except Exception as error:
            if (answer := malformed(error)) is None:
                raise
            raise answer from error

    with reachable(address, timeout):
        # Chroma's client asks for the tenant at once, when no limit can be set yet.
        client = _within(timeout, connect)
    for session in _sessions(client):  # Chroma has no setting for it
        limit(session, timeout)
    return client


def close_client(client: ClientAPI) -> None:
    """Close all connections to a server; Chroma's own `close()` leaves those for administration."""
    for session in _sessions(client):
        session.close()


def _sessions(client: ClientAPI) -> list[httpx.Client]:
    # This is the only place that reaches behind Chroma's client.
    behind: Any = client
    clients = (behind, behind._admin_client)
    return list({id(one._server._session): one._server._session for one in clients}.values())


def _within(timeout: float, connect: Callable[[], ClientAPI]) -> ClientAPI:
    try:
        return within(timeout, connect)
    except TimeoutError:
        raise httpx.ReadTimeout("no whole answer in time") from None


@contextmanager
def reachable(address: str, timeout: float | None = None) -> Iterator[None]:
    """Raise UnreachableCollectionError where nobody answers as Chroma does."""
    try:
        yield
    except Exception as error:
        redact(error)
        if not is_of_the_connection(error):
            raise
        in_time = "" if timeout is None else f" within {timeout:g} seconds"
        raise UnreachableCollectionError(
            f"No Chroma server answers at {address}{in_time} ({reason(error)}). Check "
            "host and port, start the server or wait for it, or allow a longer timeout."
        ) from error


def limit(client: httpx.Client, seconds: float) -> None:
    """Let no request of a client take longer, from its beginning to the last byte of its answer.

    The timeouts of httpx begin anew with every byte.
    """

    def begin(request: httpx.Request) -> None:
        del request
        _deadline.set(time.monotonic() + seconds)

    client.timeout = httpx.Timeout(seconds)
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [begin, *hooks["request"]]}
    # httpx takes no backend; these are the only places where one can be put.
    behind: Any = client
    for transport in (behind._transport, *behind._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise error("the request took longer in all than it may")
    if timeout is None:
        return None if left == inf else left
    return min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            left = _left(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _PIECE], left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
