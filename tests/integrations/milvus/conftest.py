"""Collections in Milvus Lite, and on a real server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from instruct_embeddings._types import FloatArray
from milvus_instruct_embeddings import MilvusVectors
from tests.milvus_server import milvus_server

Filled: TypeAlias = Callable[..., str]
Open: TypeAlias = Callable[..., MilvusVectors]
THREE = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a Milvus Lite."""
    return str(tmp_path_factory.mktemp("milvus") / "lite.db")


@pytest.fixture(scope="session")
def lite(path: str) -> Iterator[MilvusClient]:
    client = MilvusClient(path)
    yield client
    client.close()


@pytest.fixture(scope="session")
def server() -> Iterator[MilvusClient]:
    with milvus_server() as found:
        client = MilvusClient(found.address)
        yield client
        client.close()


@pytest.fixture
def name() -> str:
    return f"c{uuid4().hex}"


@pytest.fixture
def filled(lite: MilvusClient, name: str) -> Filled:
    return lambda *arguments, **options: fill(lite, name, *arguments, **options)


@pytest.fixture
def opened(path: str, lite: MilvusClient, name: str) -> Iterator[Open]:
    """Opens the collection, or what is named."""
    kept: list[MilvusVectors] = []

    def make(collection: str = name, source: Any = path, **options: Any) -> MilvusVectors:
        kept.append(MilvusVectors(source, collection, **options))
        return kept[-1]

    yield make
    for one in kept:
        one.close()


def fill(
    client: MilvusClient,
    name: str,
    vectors: FloatArray | Sequence[Sequence[float]],
    *,
    fields: Mapping[str, dict[str, Any]] | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    key: str = "id",
    ids: Sequence[Any] | None = None,
    dynamic: bool = True,
    index: str | None = "HNSW",
    metric: str = "COSINE",
    **parameters: Any,
) -> str:
    """Make a collection with ids "r0", "r1", ... and one row for each vector."""
    stored = np.asarray(vectors, dtype=np.float32)
    names = [f"r{i}" for i in range(len(stored))] if ids is None else ids
    schema = client.create_schema(enable_dynamic_field=dynamic)
    text = not (len(names) and isinstance(names[0], int))
    length = {"max_length": 100} if text else {}
    schema.add_field(key, DataType.VARCHAR if text else DataType.INT64, is_primary=True, **length)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=stored.shape[1])
    for field, options in (fields or {}).items():
        schema.add_field(field, **options)
    made = None
    if index:
        made = client.prepare_index_params()
        graph = {"M": 16, "efConstruction": 200} if index == "HNSW" else {}
        made.add_index("vector", index_type=index, metric_type=metric, **graph, **parameters)
    client.create_collection(name, schema=schema, index_params=made)
    given = rows or [{"text": f"text {i}", "n": i} for i in range(len(stored))]
    whole = [
        {key: row, "vector": vector, **more}
        for row, vector, more in zip(names, stored, given, strict=True)
    ]
    for start in range(0, len(whole), 5000):
        client.insert(name, whole[start : start + 5000])
    return name
