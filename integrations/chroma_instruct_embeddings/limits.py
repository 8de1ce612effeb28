"""A limit on whole requests of httpx, whose own timeouts begin anew with every byte."""

import time
from collections.abc import Iterable
from contextvars import ContextVar
from math import inf
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

# Written at once, so that a server that takes its time is noticed in between.
_PIECE = 65_536

_last: ContextVar[float] = ContextVar("_last", default=inf)


def limit(client: httpx.Client, seconds: float) -> None:
    """Let no request of a client take longer, whatever the server does.

    Args:
        client: Any client; requests are made as before.
        seconds: From the beginning of a request to the last byte of its answer.
    """

    def begin(request: httpx.Request) -> None:
        del request
        _last.set(time.monotonic() + seconds)

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
    left = _last.get() - time.monotonic()
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
