"""The commands against a running Chroma server."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest

from tests.unit.cli.conftest import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The options that name the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", "from chromadb.cli.cli import app; app()", "run"]
    command += ["--path", str(tmp_path_factory.mktemp("server")), "--port", port]
    with subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL) as process:
        try:
            _wait(process, int(port))
            yield ["--host", "127.0.0.1", "--port", port]
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 40
    while process.poll() is None and time.monotonic() < deadline:
        try:
            chromadb.HttpClient(host="127.0.0.1", port=port).heartbeat()
        except ValueError:  # what chromadb makes of a refused connection
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the Chroma server is not ready; exit status {process.poll()}")


def test_a_server_is_filled_and_asked(server: list[str], run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": str(i), "text": f"text {i}", "even": i % 2 == 0}) for i in range(9)]
    file.write_text("\n".join(lines), encoding="utf-8")
    first = run("index", file, *server, "--collection", "rows", "--json")
    assert (first.code, first.json["rows"]) == (0, 9)
    assert run("index", file, *server, "--collection", "rows", "--json").json["skipped"] == 9
    asked = run("query", "text 4", *server, "--collection", "rows", "-k", 2, "--json")
    assert asked.json["generic"][0]["id"] == "4"
    assert asked.json["generic"][0]["score"] == pytest.approx(1, abs=1e-5)
