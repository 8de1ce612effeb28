"""Real Chroma, embedded and behind a `chroma run` server, for every test of the adapter."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI

from chroma_instruct_embeddings import InstructEmbeddingFunction
from tests.chroma_server import HOST, chroma_server, close
from tests.integrations.chroma.hosts import HostEmbedding
from tests.models import INSTRUCTION, tiny_checkpoint

MakeCollection: TypeAlias = Callable[..., chromadb.Collection]
MANY = 33_500  # above the 32,766 variables of one SQL statement


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with chroma_server(tmp_path_factory.mktemp("server")) as free:
        yield free


@pytest.fixture(scope="session", params=["embedded", "server"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientAPI]:
    if request.param == "embedded":
        yield chromadb.PersistentClient(str(tmp_path_factory.mktemp("embedded")))
        return
    served = chromadb.HttpClient(host=HOST, port=request.getfixturevalue("port"))
    yield served
    close(served)


@pytest.fixture
def make(client: ClientAPI) -> MakeCollection:
    """Make a collection under a name of its own, filled with `vectors` where given."""

    def make_collection(
        vectors: list[list[float]] | None = None,
        *,
        ids: list[str] | None = None,
        space: str = "cosine",
        **records: Any,
    ) -> chromadb.Collection:
        collection = client.create_collection(
            f"test-{uuid4().hex}",
            configuration=cast(Any, {"hnsw": {"space": space}}),
            embedding_function=None,
        )
        if vectors:
            names = ids or [f"id{row}" for row in range(len(vectors))]
            collection.add(ids=names, embeddings=np.array(vectors), **records)
        return collection

    return make_collection


@pytest.fixture(scope="session")
def many(client: ClientAPI) -> chromadb.Collection:
    """More rows than SQL takes variables; the first number of a vector is its position."""
    # Parameters may take turns, so that this is made twice on one server.
    collection = client.get_or_create_collection("many", embedding_function=None)
    vectors = np.zeros((MANY, 2), dtype=np.float32)
    vectors[:, 0] = np.arange(MANY)
    for start in range(0, MANY, 5000):
        rows = range(start, min(start + 5000, MANY))
        collection.add(ids=[f"id{row}" for row in rows], embeddings=vectors[rows.start : rows.stop])
    return collection


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, nothing_loaded: None) -> Iterator[list[object]]:
    """One entry for each model that is loaded; functions that Chroma made hold none at first."""
    from chroma_instruct_embeddings.configuration import close_stored
    from instruct_embeddings.encoder import loading

    loaded: list[object] = []
    original = loading.load_model

    def counting(*args: Any) -> Any:
        loaded.append(args)
        return original(*args)

    monkeypatch.setattr(loading, "load_model", counting)
    close_stored()
    yield loaded
    close_stored()


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex}"


@pytest.fixture(scope="module")
def function() -> Iterator[InstructEmbeddingFunction]:
    made = InstructEmbeddingFunction(tiny_checkpoint(), instruction=INSTRUCTION)
    yield made
    made.close()


@pytest.fixture
def host() -> HostEmbedding:
    return HostEmbedding(tiny_checkpoint(), INSTRUCTION)
