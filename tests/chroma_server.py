"""A real `chroma run` server for the tests that need one."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromadb
import pytest
from chromadb.api import ClientAPI

HOST = "127.0.0.1"
_SECONDS = 40


@contextmanager
def chroma_client(place: str, folder: Path) -> Iterator[ClientAPI]:
    """A client of a folder: "embedded", or through a "server" that serves it."""
    if place == "embedded":
        yield chromadb.PersistentClient(str(folder))
        return
    with chroma_server(folder) as port:
        client = chromadb.HttpClient(host=HOST, port=port)
        yield client
        close(client)


def close(client: Any) -> None:
    """Close all connections; Chroma's own close() leaves those of the administration open."""
    for part in (client, client._admin_client):
        part._server._session.close()


@contextmanager
def chroma_server(folder: Path) -> Iterator[int]:
    """Serve a folder on a free loopback port; the port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    start = "from chromadb.cli.cli import app; app()"
    where = ["--path", str(folder), "--host", HOST, "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-c", start, "run", *where], stdout=subprocess.DEVNULL
    ) as server:
        try:
            _wait_until_ready(server, port)
            yield port
        finally:
            server.terminate()


def _wait_until_ready(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            close(chromadb.HttpClient(host=HOST, port=port))
        except ValueError:  # what chromadb makes of a refused connection
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the Chroma server is not ready; exit status {server.poll()}")
