"""The stores that `bench-stores` fills: each started, filled as its users would, and asked."""

import json
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path

import chromadb
import psycopg
from pymilvus import DataType, MilvusClient
from qdrant_client import QdrantClient, models

from benchmarks.corpora import Batch
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import VectorCollection
from milvus_instruct_embeddings import MilvusVectors
from postgres_instruct_embeddings import PostgresVectors
from qdrant_instruct_embeddings import QdrantVectors
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server
from tests.qdrant_server import qdrant_server

NAME = "bench"


class Store(ABC):
    """One engine with a collection of cosines.

    Attributes:
        collection: As retrieval sees it.
    """

    collection: VectorCollection

    @abstractmethod
    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        """Start the engine, and make an empty collection."""

    @abstractmethod
    def put(self, batch: Batch) -> None:
        """Store rows."""

    def finish(self) -> None:  # noqa: B027 most engines need nothing
        """Index what was stored, where the engine does not by itself."""

    @abstractmethod
    def plain(self, vector: FloatArray, k: int) -> list[str]:
        """Ids of the nearest rows, in one request of the engine's own client with their texts."""


class Chroma(Store):
    """Chroma in the process."""

    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        client = chromadb.PersistentClient(str(folder))
        self.store = client.create_collection(
            NAME, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        self.collection = ChromaVectors(self.store)

    def put(self, batch: Batch) -> None:
        ids, vectors, texts, metadatas = batch
        self.store.add(ids, embeddings=vectors, documents=texts, metadatas=metadatas)

    def plain(self, vector: FloatArray, k: int) -> list[str]:
        return list(self.store.query(query_embeddings=vector[None], n_results=k)["ids"][0])


class _Milvus(Store):
    """Milvus with an HNSW index."""

    shards = 1

    def _make(self, address: str, dimension: int, *, indexed: bool = True) -> None:
        # Milvus Lite hangs up on a client that pings every ten seconds, as pymilvus does.
        no_pings = {"grpc.keepalive_time_ms": 2**31 - 1}
        self.client = MilvusClient(address, grpc_options=no_pings)
        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("text", DataType.VARCHAR, max_length=2000)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        self.index = self.client.prepare_index_params()
        self.index.add_index(
            "vector", index_type="HNSW", metric_type="COSINE", M=16, efConstruction=200
        )
        self.client.create_collection(NAME, schema=schema, num_shards=self.shards)
        if indexed:
            self.client.create_index(NAME, self.index)
            self.client.load_collection(NAME)
        self.collection = MilvusVectors(address, NAME)

    def put(self, batch: Batch) -> None:
        ids, vectors, texts, metadatas = batch
        columns = zip(ids, vectors, texts, metadatas, strict=True)
        self.client.insert(
            NAME,
            [{**data, "id": row, "vector": vec, "text": text} for row, vec, text, data in columns],
        )

    def finish(self) -> None:
        self.client.flush(NAME)  # rows that are not look for no more candidates than a default

    def plain(self, vector: FloatArray, k: int) -> list[str]:
        found = self.client.search(NAME, [vector], limit=k, output_fields=["text"])
        return [hit["id"] for hit in found[0]]


class MilvusLite(_Milvus):
    """Milvus Lite in the process, indexed once: it makes an index anew whenever it joins files."""

    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        self._make(str(folder / "milvus.db"), dimension, indexed=False)
        open_for.callback(self.client.close)

    def finish(self) -> None:
        super().finish()
        self.client.create_index(NAME, self.index)
        self.client.load_collection(NAME)


class MilvusServer(_Milvus):
    """A standalone server of Milvus."""

    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        self._make(open_for.enter_context(milvus_server()).address, dimension)

    def finish(self) -> None:
        super().finish()
        while self.client.describe_index(NAME, "vector")["pending_index_rows"]:
            time.sleep(0.5)
        self.client.refresh_load(NAME)


class MilvusShards(MilvusServer):
    """The same with its rows in two shards."""

    shards = 2


class Qdrant(Store):
    """Qdrant's engine behind its REST interface; not its server, which no package index has."""

    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        address, _ = open_for.enter_context(qdrant_server())
        self.client = QdrantClient(address.replace("qdrant:", "http:"))
        self.client.create_collection(
            NAME, models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        )
        self.collection = QdrantVectors(self.client, NAME)

    def put(self, batch: Batch) -> None:
        ids, vectors, texts, metadatas = batch
        payloads = [
            {"page_content": text, "metadata": data}
            for text, data in zip(texts, metadatas, strict=True)
        ]
        numbers = [int(row[1:]) for row in ids]
        self.client.upload_collection(
            NAME, vectors, payload=payloads, ids=numbers, batch_size=256, wait=True
        )

    def plain(self, vector: FloatArray, k: int) -> list[str]:
        found = self.client.query_points(NAME, vector.tolist(), limit=k, with_payload=True)
        return [f"r{point.id}" for point in found.points]


class Postgres(Store):
    """PostgreSQL with pgvector, indexed after the rows were copied."""

    partitions = 0

    def __init__(self, folder: Path, dimension: int, open_for: ExitStack) -> None:
        self.address = open_for.enter_context(postgres_server())
        self.connection = open_for.enter_context(psycopg.connect(self.address, autocommit=True))
        columns = f"id text PRIMARY KEY, embedding vector({dimension}), text text, metadata jsonb"
        split = " PARTITION BY HASH (id)" if self.partitions else ""
        self.connection.execute(f"CREATE TABLE {NAME} ({columns}){split}")
        for part in range(self.partitions):
            self.connection.execute(
                f"CREATE TABLE {NAME}_{part} PARTITION OF {NAME} "
                f"FOR VALUES WITH (MODULUS {self.partitions}, REMAINDER {part})"
            )
        self.collection = PostgresVectors(self.address, NAME)

    def put(self, batch: Batch) -> None:
        with (
            self.connection.cursor() as cursor,
            cursor.copy(f"COPY {NAME} (id, embedding, text, metadata) FROM STDIN") as copy,
        ):
            for row, vector, text, data in zip(*batch, strict=True):
                copy.write_row((row, str(vector.tolist()), text, json.dumps(data)))

    def finish(self) -> None:
        self.connection.execute("SET maintenance_work_mem = '2GB'")
        self.connection.execute(f"CREATE INDEX ON {NAME} USING hnsw (embedding vector_cosine_ops)")
        self.connection.execute(f"VACUUM ANALYZE {NAME}")

    def plain(self, vector: FloatArray, k: int) -> list[str]:
        found = self.connection.execute(
            f"SELECT id, text, metadata, embedding <=> %s::vector AS distance FROM {NAME} "
            f"ORDER BY distance LIMIT {k}",
            [str(vector.tolist())],
        )
        return [row[0] for row in found]


class PostgresPartitions(Postgres):
    """The same with its rows in four hash partitions."""

    partitions = 4


STORES: dict[str, type[Store]] = {
    "Chroma": Chroma,
    "Milvus Lite": MilvusLite,
    "Milvus": MilvusServer,
    "Milvus, two shards": MilvusShards,
    "Qdrant's engine": Qdrant,
    "PostgreSQL": Postgres,
    "PostgreSQL, four partitions": PostgresPartitions,
}
