"""Every engine: in memory, Chroma embedded, a PostgreSQL server, and two of Qdrant and Milvus."""

from collections.abc import Callable, Iterator
from typing import TypeAlias
from uuid import uuid4

import chromadb
import pytest
from qdrant_client import QdrantClient

from instruct_embeddings._types import Space
from tests.integrations.stores.engines import Chroma, Engine, Memory, Milvus, Postgres, Qdrant
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server
from tests.qdrant_server import qdrant_server

MakeEngine: TypeAlias = Callable[[Space, int], Engine]


@pytest.fixture(scope="session")
def chroma_client(tmp_path_factory: pytest.TempPathFactory) -> chromadb.ClientAPI:
    return chromadb.PersistentClient(str(tmp_path_factory.mktemp("contract")))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as address:
        yield address


@pytest.fixture(scope="session")
def qdrant_local() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture(scope="session")
def qdrant_edge() -> Iterator[QdrantClient]:
    with qdrant_server() as (address, _):
        client = QdrantClient(address.replace("qdrant", "http"), check_compatibility=False)
        yield client
        client.close()


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("contract") / "lite.db")


@pytest.fixture(scope="session")
def milvus() -> Iterator[str]:
    with milvus_server() as server:
        yield server.address


@pytest.fixture(
    params=["memory", "chroma", "postgres", "qdrant-local", "qdrant-edge", "milvus-lite", "milvus"]
)
def make_engine(request: pytest.FixtureRequest) -> Iterator[MakeEngine]:
    """Makes a collection of a space and a dimension in one of the stores."""
    opened: list[Postgres | Milvus] = []

    def make(space: Space, dimension: int) -> Engine:
        name = f"contract-{uuid4().hex}"
        if request.param == "memory":
            return Memory(space, dimension)
        if request.param == "chroma":
            client = request.getfixturevalue("chroma_client")
            return Chroma(client, name, space, dimension)
        if request.param.startswith("qdrant"):
            client = request.getfixturevalue(request.param.replace("-", "_"))
            return Qdrant(client, name, space, dimension)
        if request.param.startswith("milvus"):
            address = request.getfixturevalue(request.param.replace("-", "_"))
            opened.append(Milvus(address, name, space, dimension))
            return opened[-1]
        opened.append(Postgres(request.getfixturevalue("postgres"), name, space, dimension))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()
