"""Rows into the engines, by upsert; adapters only read.

A row that is there already under its id is replaced, so that rows may be written twice. A
collection that is not there is made, for cosine, as the adapter of the engine reads it; several
processes may make one at the same moment.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from instruct_embeddings._addresses import KNOWN, is_server, place_of, plain, scheme_of, shown
from instruct_embeddings._extras import require
from instruct_embeddings._printable import safe_message
from instruct_embeddings._types import FloatArray
from instruct_embeddings._warnings import warn
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    ConfigError,
    InstructEmbeddingsError,
)

# Longest vectors that pgvector indexes in single precision.
_LONGEST_INDEXED = 2000
# Of Milvus, in bytes.
_LONGEST_ID, _LONGEST_TEXT = 512, 65_535
_TIMEOUT = 60.0  # seconds of a request to Milvus


@dataclass(frozen=True)
class Records:
    """Rows to store, aligned; a text is None where a row has none."""

    ids: Sequence[str]
    vectors: FloatArray  # shape (n, d)
    texts: Sequence[str | None]
    metadatas: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, size: int) -> "Records":
        """Some of the rows."""
        rows = slice(start, start + size)
        return Records(self.ids[rows], self.vectors[rows], self.texts[rows], self.metadatas[rows])


class Writer:
    """Writes rows into a collection by upsert; it connects when it is first needed.

    It can be pickled; the copy connects anew.

    Args:
        address: `chroma:FOLDER`, `chroma://host:8000`, `milvus:FILE.db`, `milvus://host:19530`,
            `qdrant:FOLDER`, `qdrant://host:6333`, `postgresql://user@host:5432/database` or
            `parquet:FOLDER`.
        collection: Its name; of PostgreSQL that of the table, of Parquet a folder inside.

    Raises:
        ConfigError: No store has such an address.
    """

    def __init__(self, address: str, collection: str) -> None:
        self._scheme = scheme_of(address)
        if self._scheme not in _ENGINES:
            raise ConfigError(
                f"The address {shown(address)!r:.200} is none of a store that is written "
                f"into. Known are {KNOWN}, parquet:FOLDER. Write one of these."
            )
        self.address, self.collection = address, collection
        self._engine: _Engine | None = None
        self._dimension = 0

    def __str__(self) -> str:
        """What it writes into, without passwords."""
        return f"The collection {self.collection!r} in {shown(self.address)!r}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_engine": None, "_dimension": 0}

    @property
    def one_process(self) -> bool:
        """Whether the store is a folder that one process may open."""
        return self._scheme != "parquet" and not is_server(self.address)

    def stored_id(self, name: str) -> str:
        """The id under which the store has a row: another one in Qdrant, which knows UUIDs only."""
        return _point_id(name) if self._scheme == "qdrant" else name

    def exists(self) -> bool:
        """Whether the collection is there, whatever it holds.

        Raises:
            CollectionError: The store does not answer, or is held by another process.
        """
        # A client would make the folder.
        if self.one_process and not Path(place_of(self.address.partition("?")[0])).exists():
            return False
        with closing(self), self._reported("could not be looked for"):
            return self._connected().dimension() is not None

    def write(self, records: Records) -> None:
        """Write rows, and make the collection if it is not there.

        Raises:
            CollectionError: The store refused the rows or did not answer.
            CollectionMismatchError: The collection holds vectors of another dimension; nothing was
                written.
            MissingExtraError: The client of the store is not installed.
        """
        if not len(records):
            return
        first, last = records.ids[0], records.ids[-1]
        with self._reported(
            f"did not take {len(records)} rows, {first!r} to {last!r}",
            "Rows of this batch may be stored. Correct what it says and run the same again: no row "
            "is stored twice.",
        ):
            engine, given = self._connected(), records.vectors.shape[1]
            self._dimension = self._dimension or _made(engine, given) or given
            if given != self._dimension:
                raise CollectionMismatchError(
                    f"{self} holds vectors of {self._dimension:,} dimensions, and {given:,} were "
                    "given. All must come from the same embedding model. Use the one that filled "
                    "it, or name another collection; nothing of this batch was written."
                )
            engine.write(records)

    def finish(self) -> None:
        """End the connection once all rows are written, by whichever process; a server is told.

        Milvus searches rows without an index, and without heeding how far to look, until they are
        flushed. A server limits how often one may ask, so that this is called once.
        """
        try:
            if self._scheme == "milvus" and is_server(self.address):
                engine = self._connected()
                if engine.dimension() is not None:
                    engine.flush()
        except Exception as exc:  # the rows are stored
            warn(
                f"{self} could not be flushed ({safe_message(exc)}). All rows are stored, but "
                "searches may miss some until Milvus does so by itself, within minutes. Or call "
                f"client.flush({self.collection!r})."
            )
        finally:
            self.close()

    def close(self) -> None:
        """End the connection; it is made again when it is needed."""
        engine, self._engine, self._dimension = self._engine, None, 0
        if engine is not None:
            engine.close()

    def _connected(self) -> "_Engine":
        if self._engine is None:
            self._engine = _ENGINES[self._scheme](plain(self.address), self.collection)
        return self._engine

    @contextmanager
    def _reported(self, what: str, remedy: str = "Correct what it says.") -> Iterator[None]:
        try:
            yield
        except (ImportError, InstructEmbeddingsError):
            raise
        except Exception as exc:
            self.close()  # connect anew, should it be used again
            # Not chained: errors of clients may hold passwords and need not be picklable.
            raise CollectionError(f"{self} {what} ({safe_message(exc)}). {remedy}") from None


class _Engine(ABC):
    """A connection to a collection, which need not be there yet."""

    @abstractmethod
    def __init__(self, address: str, collection: str) -> None: ...

    @abstractmethod
    def dimension(self) -> int | None:
        """Of the vectors in the collection; 0 where it tells none, None where it is not there."""

    @abstractmethod
    def create(self, dimension: int) -> None:
        """Make the collection."""

    @abstractmethod
    def write(self, records: Records) -> None:
        """Write rows by upsert."""

    def flush(self) -> None:  # noqa: B027 - most need none
        """Have what was written indexed."""

    def close(self) -> None:  # noqa: B027 - nor an end
        """End the connection."""


class _Chroma(_Engine):
    def __init__(self, address: str, collection: str) -> None:
        databases = require("chroma_instruct_embeddings.database", extra="chroma")
        self._database, self._name = databases.ChromaDatabase(address), collection
        self._client = self._database.client(create=True)
        self._found = self._database.find(collection)

    def dimension(self) -> int | None:
        if self._found is None:
            return None
        self._database.check_index(self._found)
        return 0  # Chroma looks before it writes

    def create(self, dimension: int) -> None:
        cosine = {"hnsw": {"space": "cosine"}}
        self._found = self._client.get_or_create_collection(
            self._name, embedding_function=None, configuration=cosine
        )

    def write(self, records: Records) -> None:
        most = self._client.get_max_batch_size()
        for part in (records.part(start, most) for start in range(0, len(records), most)):
            ids = list(part.ids)
            stored = self._found.get(ids=ids, include=["metadatas"])
            # Chroma keeps keys that are not named, and drops what is None.
            old = {
                name: dict.fromkeys(metadata or ())
                for name, metadata in zip(stored["ids"], stored["metadatas"], strict=True)
            }
            # Nor does it take an empty mapping for "no metadata".
            rows = zip(ids, part.metadatas, strict=True)
            metadatas = [{**old.get(name, {}), **metadata} or None for name, metadata in rows]
            self._found.upsert(
                ids=ids, embeddings=part.vectors, documents=list(part.texts), metadatas=metadatas
            )

    def close(self) -> None:
        self._database.close()


class _Milvus(_Engine):
    """The fields `id`, `text`, `vector` and dynamic ones."""

    def __init__(self, address: str, collection: str) -> None:
        requests = require("milvus_instruct_embeddings.requests", extra="milvus")
        self._requests = requests.Requests(address, collection, _TIMEOUT, create=True)

    def dimension(self) -> int | None:
        if not self._requests.ask("has_collection"):
            return None
        fields = self._requests.ask("describe_collection")["fields"]
        found = (int(one["params"]["dim"]) for one in fields if one["name"] == "vector")
        return next(found, 0)

    def create(self, dimension: int) -> None:
        milvus = require("pymilvus")
        kinds = milvus.DataType
        schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
        schema.add_field("text", kinds.VARCHAR, max_length=_LONGEST_TEXT)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dimension)
        index = milvus.MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
        self._requests.ask("create_collection", schema=schema, index_params=index)

    def write(self, records: Records) -> None:
        if taken := {"id", "text", "vector"} & set().union(*records.metadatas):
            raise ValueError(f"metadata named {min(taken)!r} would replace a field; rename it")
        rows = zip(records.ids, records.vectors, records.texts, records.metadatas, strict=True)
        data = [
            {**metadata, "id": name, "vector": vector, "text": text or ""}
            for name, vector, text, metadata in rows
        ]
        self._requests.ask("upsert", data)

    def flush(self) -> None:
        self._requests.ask("flush")

    def close(self) -> None:
        self._requests.close()


class _Qdrant(_Engine):
    """The payload `page_content`, `metadata` and `id`, under numbers that are UUIDs."""

    def __init__(self, address: str, collection: str) -> None:
        qdrant = require("qdrant_client", extra="qdrant")
        self._models, self._name = require("qdrant_client.models"), collection
        if is_server(address):
            self._client = require("qdrant_instruct_embeddings.client").open_client(address)
        else:
            self._client = qdrant.QdrantClient(path=place_of(address))

    def dimension(self) -> int | None:
        if not self._client.collection_exists(self._name):
            return None
        vectors = self._client.get_collection(self._name).config.params.vectors
        return int(getattr(vectors, "size", 0))  # those that have a name are refused by Qdrant

    def create(self, dimension: int) -> None:
        cosine = self._models.VectorParams(size=dimension, distance=self._models.Distance.COSINE)
        self._client.create_collection(self._name, vectors_config=cosine)

    def write(self, records: Records) -> None:
        vectors = records.vectors.tolist()
        rows = zip(records.ids, vectors, records.texts, records.metadatas, strict=True)
        points = [
            self._models.PointStruct(
                id=_point_id(name),
                vector=vector,
                payload={"page_content": text, "metadata": dict(metadata), "id": name},
            )
            for name, vector, text, metadata in rows
        ]
        self._client.upsert(self._name, points=points, wait=True)

    def close(self) -> None:
        self._client.close()


class _Postgres(_Engine):
    """The columns `id`, `embedding`, `text` and `metadata`.

    A connection a batch: none is left open, and a server may restart in between.
    """

    def __init__(self, address: str, collection: str) -> None:
        self._psycopg = require("psycopg", extra="postgres")
        self._sql = require("psycopg.sql")
        self._address = address
        self._name, self._table = collection, self._sql.Identifier(collection)

    def dimension(self) -> int | None:
        with self._psycopg.connect(self._address) as connection:
            return self._dimension(connection)

    def _dimension(self, connection: Any) -> int | None:
        there, size = connection.execute(
            "SELECT to_regclass(%(name)s) IS NOT NULL, (SELECT atttypmod FROM pg_attribute WHERE "
            "attrelid = to_regclass(%(name)s) AND attname = 'embedding' AND NOT attisdropped)",
            {"name": self._table.as_string(connection)},
        ).fetchone()
        return max(size or 0, 0) if there else None

    def create(self, dimension: int) -> None:
        columns = f"id text PRIMARY KEY, embedding vector({dimension}) NOT NULL, text text"
        with self._psycopg.connect(self._address) as connection:
            # IF NOT EXISTS alone fails where two processes create at once.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._name])
            if self._dimension(connection) is not None:
                return
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            made = self._sql.SQL(f"CREATE TABLE {{}} ({columns}, metadata jsonb)")
            connection.execute(made.format(self._table))
            if dimension <= _LONGEST_INDEXED:
                index = "CREATE INDEX ON {} USING hnsw (embedding vector_cosine_ops)"
                connection.execute(self._sql.SQL(index).format(self._table))

    def write(self, records: Records) -> None:
        upsert = self._sql.SQL(
            "INSERT INTO {} (id, embedding, text, metadata) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding, text = EXCLUDED.text, "
            "metadata = EXCLUDED.metadata"
        ).format(self._table)
        vectors = [f"[{','.join(map(repr, row))}]" for row in records.vectors.tolist()]
        metadatas = [json.dumps(dict(one)) for one in records.metadatas]
        # In one order for all writers, so that none waits for another that waits for it.
        values = sorted(zip(records.ids, vectors, records.texts, metadatas, strict=True))
        with self._psycopg.connect(self._address) as connection, connection.cursor() as cursor:
            cursor.executemany(upsert, values)


class _Parquet(_Engine):
    """A folder of Parquet files, one for each batch, named after the ids in it.

    The columns are `id`, `vector`, `text` and `metadata`, the latter as JSON. A batch that is
    written twice is one file; it appears whole or not at all.
    """

    def __init__(self, address: str, collection: str) -> None:
        self._arrow = require("pyarrow", extra="ray")
        self._parquet = require("pyarrow.parquet")
        place = place_of(address)
        target = place if "://" in place else str(Path(place).expanduser().absolute())
        self._system, root = require("pyarrow.fs").FileSystem.from_uri(target)
        self._folder = f"{root.rstrip('/')}/{collection}"

    def dimension(self) -> int | None:
        return None

    def create(self, dimension: int) -> None:
        self._system.create_dir(self._folder, recursive=True)

    def write(self, records: Records) -> None:
        arrow = self._arrow
        metadatas = [json.dumps(dict(one), ensure_ascii=False) for one in records.metadatas]
        table = arrow.table(
            {
                "id": arrow.array(records.ids, arrow.string()),
                "vector": arrow.array(list(records.vectors), arrow.list_(arrow.float32())),
                "text": arrow.array(records.texts, arrow.string()),
                "metadata": metadatas,
            }
        )
        digest = sha256(json.dumps(sorted(records.ids)).encode()).hexdigest()[:32]
        # Readers of a folder leave out names that begin with a dot.
        unfinished = f"{self._folder}/.{digest}-{uuid4().hex}"
        with self._system.open_output_stream(unfinished) as stream:
            self._parquet.write_table(table, stream)
        self._system.move(unfinished, f"{self._folder}/{digest}.parquet")


_ENGINES: Mapping[str, type[_Engine]] = {
    "chroma": _Chroma,
    "milvus": _Milvus,
    "qdrant": _Qdrant,
    "postgresql": _Postgres,
    "postgres": _Postgres,
    "parquet": _Parquet,
}


def _made(engine: _Engine, dimension: int) -> int | None:
    """The dimension of a collection, which is made if it is not there."""
    if (found := engine.dimension()) is None:
        try:
            engine.create(dimension)
        except Exception:
            # Another process may have made it meanwhile.
            if (found := engine.dimension()) is None:
                raise
    return found


def _point_id(name: str) -> str:
    """The UUID of a point of Qdrant: the id itself where it is one, else made of it."""
    try:
        if str(UUID(name)) == name:
            return name
    except ValueError:
        pass
    return str(uuid5(NAMESPACE_OID, name))
