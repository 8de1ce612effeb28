"""The stores that the contract is held to: each can be filled, opened again and made anew."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import psycopg
from chromadb.api import ClientAPI
from pymilvus import DataType, MilvusClient
from qdrant_client import QdrantClient, models

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.testing import InMemoryCollection
from milvus_instruct_embeddings import MilvusVectors
from postgres_instruct_embeddings import PostgresVectors
from qdrant_instruct_embeddings import QdrantVectors


class Engine(ABC):
    """One collection in a store, as its users would write it.

    Attributes:
        collection: As retrieval sees it.
        native: The filter `{"n": {"$lt": 9}}` in the words of the store; None where it has none.
    """

    collection: VectorCollection
    native: Any = None

    def __init__(self, space: Space, dimension: int) -> None:
        self.space, self.dimension = space, dimension
        self.made = 0
        self.make()

    @abstractmethod
    def make(self) -> None:
        """Make it, empty, in the place of the one that was there."""

    @abstractmethod
    def put(
        self,
        ids: Sequence[str],
        vectors: FloatArray,
        texts: Sequence[str | None],
        metadatas: Sequence[dict[str, Any] | None],
    ) -> None:
        """Store rows that are not there yet."""

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""

    @abstractmethod
    def reopened(self) -> VectorCollection:
        """The same collection, through new objects."""


class Memory(Engine):
    collection: InMemoryCollection

    @staticmethod
    def native(metadata: Any) -> bool:
        return bool(metadata["n"] < 9)

    def make(self) -> None:
        self.made += 1
        self.collection = InMemoryCollection(space=self.space, id=f"made {self.made}")

    def put(self, ids: Any, vectors: Any, texts: Any, metadatas: Any) -> None:
        self.collection.add(ids, vectors, texts=texts, metadatas=metadatas)

    def delete(self, ids: Sequence[str]) -> None:
        self.collection.delete(ids)

    def reopened(self) -> VectorCollection:
        return self.collection


class Chroma(Engine):
    def __init__(self, client: ClientAPI, name: str, space: Space, dimension: int) -> None:
        self.client, self.name = client, name
        super().__init__(space, dimension)

    def make(self) -> None:
        if self.made:
            self.client.delete_collection(self.name)
        self.made += 1
        configuration = cast(Any, {"hnsw": {"space": self.space}})
        self.store = self.client.create_collection(
            self.name, configuration=configuration, embedding_function=None
        )
        self.collection = ChromaVectors(self.store)

    def put(self, ids: Any, vectors: Any, texts: Any, metadatas: Any) -> None:
        self.store.add(list(ids), embeddings=vectors, documents=texts, metadatas=metadatas)

    def delete(self, ids: Sequence[str]) -> None:
        self.store.delete(list(ids))

    def reopened(self) -> VectorCollection:
        return ChromaVectors(self.client.get_collection(self.name, embedding_function=None))


class Postgres(Engine):
    collection: PostgresVectors
    native = "(metadata ->> 'n')::int < 9"

    def __init__(self, address: str, name: str, space: Space, dimension: int) -> None:
        self.address, self.name = address, name
        self.opened: list[PostgresVectors] = []
        super().__init__(space, dimension)

    def execute(self, text: str, *values: Any) -> None:
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(text, values)  # type: ignore[call-overload]

    def make(self) -> None:
        self.made += 1
        self.execute(f'DROP TABLE IF EXISTS "{self.name}"')
        self.execute(
            f'CREATE TABLE "{self.name}" (id text PRIMARY KEY, '
            f"embedding vector({self.dimension}), text text, metadata jsonb)"
        )
        index = f"hnsw (embedding vector_{self.space}_ops)"
        self.execute(f'CREATE INDEX ON "{self.name}" USING {index}')
        self.collection = self.reopened()

    def put(self, ids: Any, vectors: Any, texts: Any, metadatas: Any) -> None:
        rows = [
            (row, str(vector.tolist()), text, None if data is None else json.dumps(data))
            for row, vector, text, data in zip(ids, vectors, texts, metadatas, strict=True)
        ]
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.cursor().executemany(
                f'INSERT INTO "{self.name}" VALUES (%s, %s, %s, %s)',  # type: ignore[arg-type]
                rows,
            )

    def delete(self, ids: Sequence[str]) -> None:
        self.execute(f'DELETE FROM "{self.name}" WHERE id = ANY(%s)', list(ids))

    def reopened(self) -> PostgresVectors:
        self.opened.append(PostgresVectors(self.address, self.name, check_every=0))
        return self.opened[-1]

    def close(self) -> None:
        for one in self.opened:
            one.close()


class Qdrant(Engine):
    """Rows as LangChain stores them."""

    native = models.Filter(must=[models.FieldCondition(key="metadata.n", range=models.Range(lt=9))])

    def __init__(self, client: QdrantClient, name: str, space: Space, dimension: int) -> None:
        self.client, self.name = client, name
        super().__init__(space, dimension)

    def make(self) -> None:
        self.made += 1
        self.client.delete_collection(self.name)
        distance = {"cosine": "Cosine", "ip": "Dot", "l2": "Euclid"}[self.space]
        self.client.create_collection(
            self.name,
            models.VectorParams(size=self.dimension, distance=models.Distance(distance)),
        )
        self.collection = self.reopened()

    def put(self, ids: Any, vectors: Any, texts: Any, metadatas: Any) -> None:
        points = [
            models.PointStruct(
                id=int(row),
                vector=vector.tolist(),
                payload={"page_content": text, "metadata": metadata},
            )
            for row, vector, text, metadata in zip(ids, vectors, texts, metadatas, strict=True)
        ]
        self.client.upsert(self.name, points)

    def delete(self, ids: Sequence[str]) -> None:
        self.client.delete(self.name, models.PointIdsList(points=[int(row) for row in ids]))

    def reopened(self) -> VectorCollection:
        return QdrantVectors(self.client, self.name, check_every=0)


class Milvus(Engine):
    """Texts and metadata are dynamic fields, so that a row may lack them on any version.

    A server takes seconds to make a collection, so those that tests have left are used again.
    """

    left: ClassVar[dict[tuple[str, Space, int], list[str]]] = {}

    def __init__(self, address: str, name: str, space: Space, dimension: int) -> None:
        self.address, self.name = address, name.replace("-", "_")
        # Milvus Lite hangs up on one that pings every ten seconds.
        self.client = MilvusClient(address, grpc_options={"grpc.keepalive_time_ms": 2**31 - 1})
        self.opened: list[MilvusVectors] = []
        self.others = self.left.setdefault((address, space, dimension), [])
        super().__init__(space, dimension)

    def make(self) -> None:
        if self.made:
            self.client.drop_collection(self.name)
        self.made += 1
        if self.made == 1 and self.others:
            self.name = self.others.pop()
            self.collection = self.reopened()
            return
        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=100)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
        index = self.client.prepare_index_params()
        metric = self.space.upper()
        index.add_index("vector", index_type="HNSW", metric_type=metric, M=16, efConstruction=200)
        self.client.create_collection(self.name, schema=schema, index_params=index)
        if self.made == 1:
            self.collection = self.reopened()

    def put(self, ids: Any, vectors: Any, texts: Any, metadatas: Any) -> None:
        rows = [
            {"id": row, "vector": vector} | ({} if text is None else {"text": text}) | (data or {})
            for row, vector, text, data in zip(ids, vectors, texts, metadatas, strict=True)
        ]
        self.client.insert(self.name, rows)

    def delete(self, ids: Sequence[str]) -> None:
        self.client.delete(self.name, ids=list(ids))

    def reopened(self) -> MilvusVectors:
        self.opened.append(MilvusVectors(self.address, self.name, check_every=0))
        return self.opened[-1]

    def close(self) -> None:
        for one in self.opened:
            one.close()
        self.client.delete(self.name, filter='id != ""')
        self.others.append(self.name)
        self.client.close()
