"""A Chroma server goes wrong while the command line fills a collection, or says nothing at all."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import chromadb
import numpy as np
import pytest

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.client import http_client
from chroma_instruct_embeddings.database import ChromaDatabase
from instruct_embeddings.cli import index, models
from instruct_embeddings.cli.index import run_index
from instruct_embeddings.cli.records import Reader
from instruct_embeddings.errors import CollectionError, UnreachableCollectionError
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import TinyEncoder
from tests.chroma_server import HOST, close
from tests.faults.conftest import Inject
from tests.faults.proxy import (
    Break,
    Proxy,
    Stage,
    answer_with,
    cut_off,
    do_first,
    hang_up,
    proxy_before,
    wait_first,
)
from tests.faults.server import ChromaServer

pytestmark = pytest.mark.faults

ROWS, BATCH = 100, 20
BREAKS: dict[str, Break] = {
    "hangs up": hang_up,
    "cuts its answer off": cut_off,
    "answers 503 of a gateway": answer_with(503, "upstream connect error", "text/plain"),
    "answers 200 with a page": answer_with(200, "<html>maintenance</html>"),
}


@pytest.fixture
def proxy(server: ChromaServer) -> Iterator[Proxy]:
    with proxy_before(server.port) as proxy:
        yield proxy
        assert proxy.rules == []


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of five batches."""
    monkeypatch.setattr(index, "_BATCH", BATCH)
    monkeypatch.setattr(models, "load_encoder", lambda model=None: TinyEncoder())
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": f"r{i}", "text": f"text {i}", "n": i}) for i in range(ROWS)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def fill(proxy: Proxy, name: str, rows: Path) -> int:
    """Index the rows as the command does; how many are there then."""
    with ChromaDatabase(f"chroma://{HOST}:{proxy.port}", timeout=5.0) as database:
        found: int = run_index(database, name, [rows], Reader(), None)["rows"]
    return found


def lost(server: ChromaServer, name: str) -> int:
    """Rows that are not stored, or with another vector."""
    client = chromadb.HttpClient(host=HOST, port=server.port)
    got = client.get_collection(name).get(include=["embeddings", "documents"])
    assert len(got["ids"]) == len(set(got["ids"]))
    close(client)
    expected = TinyEncoder().encode(got["documents"] or [])
    right = np.isclose(np.asarray(got["embeddings"]), expected, atol=1e-5).all(axis=1)
    return ROWS - int(right.sum())


# Before the first batch there is no collection that records could be asked of.
@pytest.mark.parametrize(
    ("stage", "rows_of"), [("writing", "'r40' to 'r59'"), ("records", "'r60' to 'r79'")]
)
@pytest.mark.parametrize("name", BREAKS)
def test_an_index_that_loses_its_server_goes_on_when_it_is_started_again(
    name: str,
    stage: Stage,
    rows_of: str,
    server: ChromaServer,
    proxy: Proxy,
    rows: Path,
    inject: Inject,
) -> None:
    collection = f"{stage}-{name.replace(' ', '-')}"
    with inject(f"index, {stage}: the server {name}") as fault:
        proxy.break_next(stage, BREAKS[name], skip=2)
        error = fault.ask(lambda: fill(proxy, collection, rows), ROWS)
        assert isinstance(error, UnreachableCollectionError)
        assert rows_of in str(error)
        assert "Run the same command again" in str(error)
        fault.ask(lambda: fill(proxy, collection, rows), ROWS)
        fault.lost = lost(server, collection)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_index_goes_on_after_its_server_was_ended_and_started_again(
    end: str, server: ChromaServer, proxy: Proxy, rows: Path, inject: Inject
) -> None:
    with inject(f"index: the server is ended ({end}) and started again") as fault:
        proxy.break_next("writing", do_first(getattr(server, end)), skip=2)
        try:
            error = fault.ask(lambda: fill(proxy, f"ended-{end}", rows), ROWS)
            assert isinstance(error, UnreachableCollectionError)
            error = fault.ask(lambda: fill(proxy, f"ended-{end}", rows), ROWS)
            assert isinstance(error, CollectionError)
        finally:
            server.start()
        fault.ask(lambda: fill(proxy, f"ended-{end}", rows), ROWS)
        fault.lost = lost(server, f"ended-{end}")


def test_a_server_that_hangs_is_an_error_after_the_timeout_and_may_be_asked_again(
    server: ChromaServer, proxy: Proxy, rows: Path, inject: Inject
) -> None:
    fill(proxy, "hanging", rows)
    client = http_client(HOST, proxy.port, timeout=0.5)
    stored = ChromaVectors(client.get_collection("hanging"))
    retriever = InstructRetriever(stored, None)
    query = TinyEncoder().encode(["text 7"])[0]

    def best() -> str:
        return retriever.search(query, k=1)[0].id

    with inject("the server hangs, and the client has a timeout") as fault:
        for stage, read in (
            ("prefetch", best),
            ("records", lambda: stored.fetch(["r7"], records=True).ids[0]),
        ):
            proxy.break_next(stage, wait_first(3))
            error = fault.ask(read, "r7")
            assert isinstance(error, UnreachableCollectionError)
            assert "ReadTimeout" in str(error)
            fault.ask(read, "r7")
    close(client)


def test_a_port_that_says_nothing_is_an_error_after_the_timeout(inject: Inject) -> None:
    with inject("a port accepts connections and says nothing") as fault, socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        address = f"chroma://{HOST}:{silent.getsockname()[1]}"
        database = ChromaDatabase(address, timeout=0.3)
        for call in (database.client, lambda: database.collection("rows")):
            error = fault.ask(call, None)
            assert isinstance(error, UnreachableCollectionError)
            assert "within 0.3 seconds (ReadTimeout" in str(error)
