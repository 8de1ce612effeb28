import json
from typing import Any

import chromadb
import httpx
import numpy as np
import pytest
from chromadb.errors import InternalError

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.errors import translated
from chroma_instruct_embeddings.vectors import request
from instruct_embeddings.errors import (
    CollectionError,
    StaleCollectionError,
    UnreachableCollectionError,
)


@pytest.fixture
def collection(tmp_path: Any) -> chromadb.Collection:
    made = chromadb.PersistentClient(tmp_path).create_collection("reviews", embedding_function=None)
    made.add(ids=["a"], embeddings=[[1.0, 0.0]])
    return made


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "ConnectError: .*refused"),
        (httpx.ReadTimeout(""), "ReadTimeout: no reason given"),
        (httpx.RemoteProtocolError("Server disconnected"), "Server disconnected"),
        (Exception("<h1>502</h1>\n" + "x" * 9000), r"Exception: <h1>502</h1> x{150,200}\)"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "Expecting value"),
    ],
)
def test_what_no_chroma_says_is_an_unreachable_collection(
    collection: chromadb.Collection, error: Exception, shown: str
) -> None:
    with pytest.raises(UnreachableCollectionError, match=shown) as raised, translated(collection):
        raise error
    assert isinstance(raised.value, CollectionError)
    assert isinstance(raised.value, ConnectionError)
    assert "'reviews'" in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyError("ids"), ValueError("k"), RuntimeError(), MemoryError()])
def test_mistakes_of_a_program_pass_unchanged(
    collection: chromadb.Collection, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised, translated(collection):
        raise error
    assert raised.value is error


class Stumbling:
    """Chroma fails so many times over a row that was just deleted, then answers."""

    def __init__(self, times: int) -> None:
        self.times, self.asked = times, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.times:
            raise InternalError("Error executing plan: Error finding id")
        return "found"


def test_a_row_that_vanishes_while_it_is_read_is_asked_for_again(
    collection: chromadb.Collection,
) -> None:
    ask = Stumbling(times=2)
    assert request(collection, ask) == "found"
    assert ask.asked == 3
    for_good = Stumbling(times=9)
    with pytest.raises(StaleCollectionError, match="does not match its records"):
        request(collection, for_good)
    assert for_good.asked == 3


def test_every_read_is_translated(
    collection: chromadb.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise httpx.ConnectError("refused")

    vectors = ChromaVectors(collection)
    for method in ("get", "query", "count"):
        monkeypatch.setattr(type(collection), method, refused)
    reads = (
        vectors.count,
        lambda: vectors.page(limit=1, offset=0),
        lambda: vectors.fetch(["a"]),
        lambda: vectors.search(np.array([1.0, 0.0], dtype=np.float32), k=1),
        vectors.info,
    )
    for read in reads:
        with pytest.raises(UnreachableCollectionError, match="Start it, look at the address"):
            read()
