"""How rows are written into each engine: one function for each, which opens a collection.

All write by upsert: a row that is there already under its id is replaced, so that a batch may be
written twice. A collection that is not there is made, for cosine, as the adapter of the engine
reads it. Several processes may open one at the same moment.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray

# Longest vectors that pgvector indexes in single precision.
_LONGEST_INDEXED = 2000
_MILVUS_PORT = 19530
# Of Milvus, in bytes.
_LONGEST_ID, _LONGEST_TEXT = 512, 65_535


@dataclass(frozen=True)
class Records:
    """Rows to store, aligned; a text is None where a row has none."""

    ids: Sequence[str]
    vectors: FloatArray
    texts: Sequence[str | None]
    metadatas: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, size: int) -> "Records":
        """Some of the rows."""
        rows = slice(start, start + size)
        return Records(self.ids[rows], self.vectors[rows], self.texts[rows], self.metadatas[rows])


@dataclass(frozen=True)
class Writer:
    """An open collection: writes rows, and ends its connection."""

    write: Callable[[Records], None]
    close: Callable[[], object] = lambda: None


def into_chroma(address: str, collection: str, dimension: int) -> Writer:
    """A collection of Chroma."""
    database = require("chroma_instruct_embeddings.database", extra="chroma").ChromaDatabase(
        address
    )
    client = database.client(create=True)
    if (stored := database.find(collection)) is not None:
        database.check_index(stored)
    found = client.get_or_create_collection(
        collection, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    most = client.get_max_batch_size()

    def write(given: Records) -> None:
        for part in (given.part(start, most) for start in range(0, len(given), most)):
            ids = list(part.ids)
            stored = found.get(ids=ids, include=["metadatas"])
            # Chroma keeps keys that are not named, and drops what is None.
            old = {
                name: dict.fromkeys(metadata or ())
                for name, metadata in zip(stored["ids"], stored["metadatas"], strict=True)
            }
            # Nor does it take an empty mapping for "no metadata".
            rows = zip(ids, part.metadatas, strict=True)
            metadatas = [{**old.get(name, {}), **metadata} or None for name, metadata in rows]
            found.upsert(
                ids=ids, embeddings=part.vectors, documents=list(part.texts), metadatas=metadatas
            )

    return Writer(write, database.close)


def into_milvus(address: str, collection: str, dimension: int) -> Writer:
    """A collection of Milvus with the fields `id`, `text`, `vector` and dynamic ones."""
    pymilvus = require("pymilvus", extra="milvus")
    if is_server(address):
        place = urlsplit(address)
        user, password = unquote(place.username or ""), unquote(place.password or "")
        client = pymilvus.MilvusClient(
            f"http://{place.hostname}:{place.port or _MILVUS_PORT}",
            token=f"{user}:{password}" if password else user,
            db_name=unquote(place.path.strip("/")),
        )
    else:
        client = pymilvus.MilvusClient(path_of(address))

    def create() -> None:
        kinds = pymilvus.DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
        schema.add_field("text", kinds.VARCHAR, max_length=_LONGEST_TEXT)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
        client.create_collection(collection, schema=schema, index_params=index)

    _made_once(create, lambda: bool(client.has_collection(collection)))

    def write(rows: Records) -> None:
        if taken := {"id", "text", "vector"} & set().union(*rows.metadatas):
            raise ValueError(f"metadata named {min(taken)!r} would replace a field; rename it")
        columns = zip(rows.ids, rows.vectors, rows.texts, rows.metadatas, strict=True)
        client.upsert(
            collection,
            [
                {**metadata, "id": name, "vector": vector, "text": text or ""}
                for name, vector, text, metadata in columns
            ],
        )

    return Writer(write, client.close)


def into_qdrant(address: str, collection: str, dimension: int) -> Writer:
    """A collection of Qdrant with the payload `page_content`, `metadata` and `id`.

    Points are numbered by UUIDs: an id that is none gets one that is made of it.
    """
    qdrant = require("qdrant_client", extra="qdrant")
    models = require("qdrant_client.models")
    if is_server(address):
        client = require("qdrant_instruct_embeddings.client").open_client(address)
    else:
        client = qdrant.QdrantClient(path=path_of(address))
    cosine = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
    _made_once(
        lambda: client.create_collection(collection, vectors_config=cosine),
        lambda: bool(client.collection_exists(collection)),
    )

    def write(rows: Records) -> None:
        columns = zip(rows.ids, rows.vectors.tolist(), rows.texts, rows.metadatas, strict=True)
        points = [
            models.PointStruct(
                id=point_id(name),
                vector=vector,
                payload={"page_content": text, "metadata": dict(metadata), "id": name},
            )
            for name, vector, text, metadata in columns
        ]
        client.upsert(collection, points=points, wait=True)

    return Writer(write, client.close)


def into_postgres(address: str, collection: str, dimension: int) -> Writer:
    """A table of PostgreSQL with the columns `id`, `embedding`, `text` and `metadata`."""
    psycopg = require("psycopg", extra="postgres")
    sql = require("psycopg.sql")
    address = f"postgresql:{address.partition(':')[2]}"
    table = sql.Identifier(collection)
    columns = "id text PRIMARY KEY, embedding vector({}) NOT NULL, text text, metadata jsonb"
    with psycopg.connect(address) as connection:
        # IF NOT EXISTS alone fails where two processes create at once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [collection])
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        (there,) = connection.execute(
            "SELECT to_regclass(%s)", [table.as_string(connection)]
        ).fetchone()
        if there is None:
            made = sql.SQL(f"CREATE TABLE {{}} ({columns})")
            connection.execute(made.format(table, sql.Literal(dimension)))
            if dimension <= _LONGEST_INDEXED:
                index = "CREATE INDEX ON {} USING hnsw (embedding vector_cosine_ops)"
                connection.execute(sql.SQL(index).format(table))
    upsert = sql.SQL(
        "INSERT INTO {} (id, embedding, text, metadata) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding, text = EXCLUDED.text, "
        "metadata = EXCLUDED.metadata"
    ).format(table)

    def write(rows: Records) -> None:
        vectors = [f"[{','.join(map(repr, row))}]" for row in rows.vectors.tolist()]
        metadatas = [json.dumps(dict(one)) for one in rows.metadatas]
        # In one order for all writers, so that none waits for another that waits for it.
        values = sorted(zip(rows.ids, vectors, rows.texts, metadatas, strict=True))
        # A connection a batch: none is left open, and a server may restart in between.
        with psycopg.connect(address) as connection, connection.cursor() as cursor:
            cursor.executemany(upsert, values)

    return Writer(write)


def into_parquet(address: str, collection: str, dimension: int) -> Writer:
    """A folder of Parquet files, one for each batch, named after the ids in it.

    The columns are `id`, `vector`, `text` and `metadata`, the latter as JSON. A batch that is
    written twice is one file; it appears whole or not at all.
    """
    del dimension
    arrow = require("pyarrow", extra="ray")
    parquet, files = require("pyarrow.parquet"), require("pyarrow.fs")
    place = address.partition(":")[2]
    target = place if "://" in place else str(Path(place).expanduser().absolute())
    system, root = files.FileSystem.from_uri(target)
    folder = f"{root.rstrip('/')}/{collection}"
    system.create_dir(folder, recursive=True)

    def write(rows: Records) -> None:
        table = arrow.table(
            {
                "id": arrow.array(rows.ids, arrow.string()),
                "vector": arrow.array(list(rows.vectors), arrow.list_(arrow.float32())),
                "text": arrow.array(rows.texts, arrow.string()),
                "metadata": [json.dumps(dict(one), ensure_ascii=False) for one in rows.metadatas],
            }
        )
        digest = sha256(json.dumps(sorted(rows.ids)).encode()).hexdigest()[:32]
        # Readers of a folder leave out names that begin with a dot.
        unfinished = f"{folder}/.{digest}-{uuid4().hex}"
        with system.open_output_stream(unfinished) as stream:
            parquet.write_table(table, stream)
        system.move(unfinished, f"{folder}/{digest}.parquet")

    return Writer(write)


INTO: Mapping[str, Callable[[str, str, int], Writer]] = {
    "chroma": into_chroma,
    "milvus": into_milvus,
    "qdrant": into_qdrant,
    "postgresql": into_postgres,
    "postgres": into_postgres,
    "parquet": into_parquet,
}


def scheme_of(address: str) -> str:
    """What stands before the first colon, without the driver that SQLAlchemy names there."""
    return address.partition(":")[0].partition("+")[0].lower()


def is_server(address: str) -> bool:
    """Whether an address leads to a server, not to a folder that this process opens alone."""
    return address.partition(":")[2].startswith("//")


def path_of(address: str) -> str:
    """The folder or file of an address without a server."""
    return str(Path(address.partition(":")[2]).expanduser())


def point_id(name: str) -> str:
    """The UUID of a point of Qdrant: the id itself where it is one, else made of it."""
    try:
        if str(UUID(name)) == name:
            return name
    except ValueError:
        pass
    return str(uuid5(NAMESPACE_OID, name))


def _made_once(create: Callable[[], object], exists: Callable[[], bool]) -> None:
    """Create what is not there; another process may have done so meanwhile."""
    if exists():
        return
    try:
        create()
    except Exception:
        if not exists():
            raise
