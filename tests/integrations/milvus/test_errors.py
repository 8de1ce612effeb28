"""Bad input and servers that do not answer: said in the words of the project."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, Popen, run
from sys import executable
from time import monotonic
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from instruct_embeddings.errors import (
    ConfigError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)
from milvus_instruct_embeddings import MilvusVectors
from tests.integrations.milvus.conftest import THREE, Filled, Open

QUERY = np.array([1, 0], np.float32)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"$native": 3}, r"\$native=3 is no filter of Milvus"),
        ({"$native": "n >>> 3"}, r"does not take what was sent.*Look at the filter"),
        ({"n": "\ud800"}, "does not take what was sent"),
        ({"n": {"$contains": "a"}}, "Milvus Lite looks into lists of a JSON field"),
    ],
)
def test_filters_that_are_none(filled: Filled, opened: Open, where: Any, message: str) -> None:
    filled(THREE)
    with pytest.raises(ConfigError, match=message):
        opened().search(QUERY, k=1, where=where)
    with pytest.raises(ConfigError, match=message):
        list(opened().scan(where=where))


def test_a_filter_of_texts_without_texts(filled: Filled, opened: Open) -> None:
    filled(THREE)
    with pytest.raises(ConfigError, match=r"opened with text_field=None"):
        opened(text_field=None).search(QUERY, k=1, where_document={"$contains": "a"})


@pytest.mark.parametrize(
    "address",
    ["milvus://me:hunter22@[x/db", "ftp://me:hunter22@host", "milvus://", "tickets", "", 3, None],
)
def test_what_is_no_address(address: Any) -> None:
    with pytest.raises(ConfigError, match=r"none of Milvus|is no Milvus") as raised:
        MilvusVectors(address, "tickets")
    assert "hunter22" not in str(raised.value)


def test_an_address_is_taken_apart() -> None:
    vectors = MilvusVectors.open("milvus://me:p%40ss@[::1]:1/db", "tickets")
    options = {"uri": "http://[::1]:1", "token": "me:p@ss", "db_name": "db"}
    assert vectors._requests._options == options
    assert "p@ss" not in repr(vectors)
    cloud = MilvusVectors("https://key@cloud.example", "tickets")._requests._options
    assert cloud == {"uri": "https://cloud.example:443", "token": "key", "db_name": ""}


def test_nobody_at_the_address_and_no_password_is_told() -> None:
    nobody = MilvusVectors("milvus://me:hunter22@127.0.0.1:1", "tickets", timeout=1)
    with pytest.raises(UnreachableCollectionError, match=r"did not answer.*Start it") as raised:
        nobody.search(QUERY, k=1)
    assert "hunter22" not in f"{raised.value} {raised.value.__cause__} {nobody!r}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


def test_a_server_that_hangs_is_an_error(silent: str) -> None:
    start = monotonic()
    with pytest.raises(UnreachableCollectionError, match="did not answer"):
        MilvusVectors(silent, "tickets", timeout=0.5).count()
    assert monotonic() - start < 10


def test_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    path = tmp_path / "held.db"
    script = f"from pymilvus import MilvusClient as M; M({str(path)!r}); print(); input()"
    with Popen([executable, "-uc", script], stdin=PIPE, stdout=PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline()  # only now it holds the folder
            with pytest.raises(UnreachableCollectionError, match="no other process holds"):
                MilvusVectors(path, "tickets", timeout=1).count()
        finally:
            holder.kill()


def test_a_lite_behind_an_address_is_refused(lite: MilvusClient, filled: Filled) -> None:
    """From a process that does not run it."""
    name, address = filled(THREE), lite._get_connection().server_address
    script = (
        "from milvus_instruct_embeddings import MilvusVectors\n"
        f"MilvusVectors('http://{address}', {name!r}).info()"
    )
    found = run([executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert "UnsupportedCollectionError" in found.stderr
    assert "lies in a Milvus Lite of another process" in found.stderr


def test_threads_share_one(filled: Filled, opened: Open) -> None:
    filled(THREE)
    vectors = opened()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: vectors.search(QUERY, k=1).ids, range(40)))
    assert found == [("r0",)] * 40


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_a_connection_of_its_own(filled: Filled, opened: Open) -> None:
    filled(THREE)
    vectors = opened()
    before = vectors.info()
    kept = vectors._requests._client
    child = os.fork()
    if not child:
        good = vectors.info() == before and vectors._requests._client is not kept
        os._exit(0 if good and len(vectors.search(QUERY, k=2)) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert vectors._requests._client is kept
    assert vectors.count() == 3


def test_a_collection_that_goes_away_is_noticed(
    lite: MilvusClient, filled: Filled, opened: Open
) -> None:
    name = filled(THREE)
    vectors = opened()
    vectors.info()
    lite.drop_collection(name)
    with pytest.raises(UnsupportedCollectionError, match="is not there"):
        vectors.search(QUERY, k=1)
    with pytest.raises(UnsupportedCollectionError, match="is not there"):
        vectors.info()
