"""The commands against a running Chroma server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chroma_server import HOST, chroma_server
from tests.unit.cli.conftest import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The options that name the server."""
    with chroma_server(tmp_path_factory.mktemp("server")) as port:
        yield ["--host", HOST, "--port", str(port)]


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
