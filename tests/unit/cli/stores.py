"""A collection of Chroma in other stores, as a user would copy it there."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import NAMESPACE_OID, uuid5

import chromadb
import numpy as np
import psycopg
from pymilvus import DataType, MilvusClient
from qdrant_client import QdrantClient, models

from instruct_embeddings._types import FloatArray
from tests.postgres_server import postgres_server
from tests.qdrant_server import qdrant_server


@dataclass(frozen=True)
class Copied:
    """Rows, aligned."""

    ids: list[str]
    vectors: FloatArray
    texts: list[str]
    metadatas: list[dict[str, Any]]


# Makes a collection of a name of the rows.
Copy: TypeAlias = Callable[[str, Copied], None]


def read(folder: Path, name: str) -> Copied:
    """The rows of a collection of Chroma."""
    client = chromadb.PersistentClient(str(folder))
    collection = client.get_collection(name, embedding_function=None)
    rows = collection.get(include=["embeddings", "documents", "metadatas"])
    metadatas = [dict(one) for one in rows["metadatas"] or []]
    vectors = np.asarray(rows["embeddings"], dtype=np.float32)
    return Copied(rows["ids"], vectors, rows["documents"] or [], metadatas)


@contextmanager
def postgres() -> Iterator[tuple[str, Copy]]:
    """A server: its address, and what copies into it."""
    with postgres_server() as address:

        def copy(name: str, rows: Copied) -> None:
            columns = f"embedding vector({rows.vectors.shape[1]}), text text, metadata jsonb"
            with psycopg.connect(address, autocommit=True) as connection:
                execute: Any = connection.execute
                execute(f"CREATE TABLE {name} (id text PRIMARY KEY, {columns})")
                execute(f"CREATE INDEX ON {name} USING hnsw (embedding vector_cosine_ops)")
                for row, vector, text, metadata in _each(rows):
                    values = [row, str(vector), text, json.dumps(metadata)]
                    execute(f"INSERT INTO {name} VALUES (%s, %s, %s, %s)", values)

        yield address, copy


@contextmanager
def milvus(folder: Path) -> Iterator[tuple[str, Copy]]:
    """Milvus Lite."""
    path = folder / "milvus.db"

    def copy(name: str, rows: Copied) -> None:
        with closing(MilvusClient(str(path))) as client:
            schema = client.create_schema(enable_dynamic_field=True)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=100)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.vectors.shape[1])
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="COSINE", M=16)
            client.create_collection(name, schema=schema, index_params=index)
            points = [
                {"id": row, "vector": vector, "text": text, **metadata}
                for row, vector, text, metadata in _each(rows)
            ]
            client.insert(name, points)

    yield f"milvus:{path}", copy


@contextmanager
def qdrant(folder: Path) -> Iterator[tuple[str, Copy]]:
    """A folder of local mode, which one client opens at a time."""

    def copy(name: str, rows: Copied) -> None:
        with closing(QdrantClient(path=str(folder))) as client:
            _into_qdrant(client, name, rows)

    yield f"qdrant:{folder}", copy


@contextmanager
def qdrant_on_a_server() -> Iterator[tuple[str, Copy]]:
    """Qdrant's own engine behind a server."""
    with qdrant_server() as (address, _):
        url = address.replace("qdrant", "http")
        with closing(QdrantClient(url, check_compatibility=False)) as client:
            yield address, lambda name, rows: _into_qdrant(client, name, rows)


def _into_qdrant(client: QdrantClient, name: str, rows: Copied) -> None:
    size = rows.vectors.shape[1]
    client.create_collection(name, models.VectorParams(size=size, distance=models.Distance.COSINE))
    points = [
        # Texts are no ids of Qdrant.
        models.PointStruct(
            id=str(uuid5(NAMESPACE_OID, row)),
            vector=vector,
            payload={"page_content": text, "metadata": metadata},
        )
        for row, vector, text, metadata in _each(rows)
    ]
    client.upsert(name, points)


def _each(rows: Copied) -> Iterator[tuple[str, list[float], str, dict[str, Any]]]:
    return zip(rows.ids, rows.vectors.tolist(), rows.texts, rows.metadatas, strict=True)
