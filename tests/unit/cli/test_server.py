"""The commands against a running Chroma server."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chroma_server import HOST, chroma_server
from tests.unit.cli.conftest import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    with chroma_server(tmp_path_factory.mktemp("server")) as port:
        yield f"chroma://{HOST}:{port}"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Whatever a command did, its connections are closed: an open one would be a warning here."""
    yield
    gc.collect()


def test_a_server_is_filled_and_asked(server: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": str(i), "text": f"text {i}", "even": i % 2 == 0}) for i in range(9)]
    file.write_text("\n".join(lines), encoding="utf-8")
    first = run("index", file, "--store", server, "--collection", "rows", "--json")
    assert (first.code, first.json["rows"]) == (0, 9)
    assert (
        run("index", file, "--store", server, "--collection", "rows", "--json").json["skipped"] == 9
    )
    asked = run("query", "text 4", "--store", server, "--collection", "rows", "-k", 2, "--json")
    assert asked.json["generic"][0]["id"] == "4"
    assert asked.json["generic"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_another_tenant_and_database_hold_rows_of_their_own(
    server: str, run: Run, tmp_path: Path
) -> None:
    # Not by an AdminClient: it has no close(), and its connection would stay open.
    tenants = f"http:{server.partition(':')[2]}/api/v2/tenants"
    httpx.post(tenants, json={"name": "shop"}).raise_for_status()
    httpx.post(f"{tenants}/shop/databases", json={"name": "archive"}).raise_for_status()
    file = tmp_path / "rows.jsonl"
    rows = [
        {"id": str(i), "text": f"text {i}", "kind": "even" if i % 2 == 0 else "odd"}
        for i in range(40)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    there = ["--store", f"{server}?tenant=shop&database=archive", "--collection", "archived"]
    assert run("index", file, *there, "--json").json["rows"] == 40
    store = ["--transforms", tmp_path / "transforms"]
    fitted = run("adapt", "Even or odd?", *there, "--metadata-key", "kind", *store, "--json")
    assert fitted.code == 0
    asked = run("query", "text 4", *there, "-i", "Even or odd?", *store, "--json")
    assert asked.json["adapted"][0]["id"] == "4"
    elsewhere = run("query", "text 4", "--store", server, "--collection", "archived")
    assert (elsewhere.code, "no collection 'archived'" in elsewhere.stderr) == (1, True)


def test_a_tenant_that_is_not_there_is_named(server: str, run: Run) -> None:
    ran = run("query", "x", "--store", f"{server}?tenant=nobody", "--collection", "rows")
    assert ran.code == 1
    assert "check tenant 'nobody'" in ran.stderr
