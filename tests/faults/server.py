"""A real Chroma server that can be stopped, killed and started again on its port."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import chromadb
import pytest

from tests.chroma_server import HOST

_SECONDS = 40
_START = "from chromadb.cli.cli import app; app()"


class ChromaServer:
    """Serves one folder on one port, for as long as it runs.

    Attributes:
        folder: Where Chroma keeps its data.
        port: The same after each start.
    """

    def __init__(self, folder: Path) -> None:
        """Choose a free port; nothing runs yet."""
        self.folder = folder
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        where = ["--path", str(self.folder), "--host", HOST, "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, "run", *where], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                chromadb.HttpClient(host=HOST, port=self.port).heartbeat()
            except ValueError:  # what chromadb makes of a refused connection
                time.sleep(0.1)
            else:
                return
        self.kill()
        pytest.fail("the Chroma server is not ready")

    def stop(self) -> None:
        """End it in order, as a restart of its machine does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_SECONDS)
