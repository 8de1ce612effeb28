"""A table of PostgreSQL with a pgvector column as the `VectorCollection` retrieval works on."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args
from urllib.parse import parse_qsl

import numpy as np
from psycopg import sql
from typing_extensions import LiteralString, Self

from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.config import at_least, one_vector
from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Capabilities, CollectionInfo, Neighbours, Rows
from postgres_instruct_embeddings.connections import Connection, Connections
from postgres_instruct_embeddings.errors import wrong_dimension
from postgres_instruct_embeddings.filters import conditions
from postgres_instruct_embeddings.hosts import layout_of, table_behind
from postgres_instruct_embeddings.rows import RowReader
from postgres_instruct_embeddings.statements import DISTANCES, looking, sampled
from postgres_instruct_embeddings.table import Columns, Table

_PAGE = 2000
# Of an address, for this class; libpq knows the others.
_OPTIONS = ("schema", "id_column", "vector_column", "text_column", "metadata_column", "space")


class PostgresVectors:
    """The vectors of a table of PostgreSQL with pgvector 0.8 or newer; read only.

    Rows without a vector are left out. A condition on the metadata is looked up in the JSON of each
    candidate; where fewer rows pass it than were wanted, the index is asked no longer and all rows
    are compared, so that an answer is short only where no more rows pass.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide, InstructRetriever
        from postgres_instruct_embeddings import PostgresVectors

        retriever = InstructRetriever(PostgresVectors(address, "documents"), EncoderGuide())
        hits = retriever.search(vector, instruction="What is it for?", k=5)
        ```

    Args:
        source: Address of the database, `postgresql://user@host:5432/name`, or a function that
            makes a `psycopg.Connection`. Nothing is connected yet.
        table: Name of the table.
        schema: Its schema; None looks along the search path of the connection.
        id_column: Ids, of a text, integer or UUID type, with a unique index.
        vector_column: Vectors, of the type `vector(n)` or `halfvec(n)`.
        text_column: Texts; None where there are none.
        metadata_column: Metadata, `json` or `jsonb`; None where there are none.
        metadata_columns: Further columns that hold one value of the metadata each, under their
            names; dates come as text.
        unique_ids: False where rows may share an id; then one of them is read.
        space: "cosine", "ip" or "l2". None takes that of the index on the vectors. With a space
            that no index serves, each search reads all rows.
        check_every: Seconds after which a search looks again whether it is still the same table.

    Raises:
        ConfigError: An argument is out of its range.
    """

    capabilities = Capabilities(cheap_count=False)

    def __init__(
        self,
        source: str | Callable[[], Connection],
        table: str,
        *,
        schema: str | None = None,
        id_column: str = "id",
        vector_column: str = "embedding",
        text_column: str | None = "text",
        metadata_column: str | None = "metadata",
        metadata_columns: Sequence[str] = (),
        unique_ids: bool = True,
        space: Space | None = None,
        check_every: float = 1.0,
    ) -> None:
        if space is not None and space not in get_args(Space):
            raise ConfigError(
                f"space={space!r} is unknown. Allowed are {', '.join(get_args(Space))}, and None."
            )
        self.table = table
        self._filled: str | None = None  # id of the table that held vectors when it was last asked
        self._connections = Connections(source)
        self._reader = RowReader(
            self._connections,
            sql.Identifier(schema, table) if schema else sql.Identifier(table),
            Columns(
                id_column,
                vector_column,
                text_column,
                metadata_column,
                tuple(metadata_columns),
                unique_ids,
            ),
            space,
            check_every,
        )
        self._place = source, schema, table, self._reader.columns, space

    @classmethod
    def of(cls, store: object, *, source: str | Callable[[], Connection] | None = None) -> Self:
        """The table behind a `PGVectorStore` of `langchain_postgres` or of LlamaIndex.

        Args:
            store: What knows its table, columns and distance.
            source: As for the class; by default the database of the store's engine. It is needed
                where the engine connects by a function of yours, such as one for a cloud.

        Raises:
            UnsupportedCollectionError: It is another store; or a `PGVector`, whose collections
                share a table; or it does not say where its database is.
        """
        address, table, options = table_behind(store)
        if source is None and address is None:
            raise UnsupportedCollectionError(
                f"The engine of the {type(store).__name__} over {table!r} does not say where its "
                "database is. An address is needed, or a function that makes a psycopg.Connection. "
                "Pass PostgresVectors.of(store, source=address)."
            )
        return cls(source or address or "", table, **options)

    @classmethod
    def open(cls, address: str, collection: str, **options: Any) -> Self:
        """A table by its name in the database at `postgresql://user@host:5432/database`.

        What differs from the defaults of the class may stand behind a question mark:
        `postgresql://host/database?id_column=langchain_id&text_column=content`; an empty name is
        None. A driver, as in `postgresql+psycopg://`, is not looked at. `options` are those of the
        class too. Where none names a column, tables of LangChain and LlamaIndex are told by theirs.

        Raises:
            ConfigError: The address is malformed.
            CollectionError: The server does not answer.
        """
        scheme, colon, rest = address.partition(":")
        place, mark, asked = rest.partition("?")
        own: list[str] = []
        others: list[str] = []
        for part in asked.split("&"):
            (own if part.partition("=")[0] in _OPTIONS else others).append(part)
        named = dict(parse_qsl("&".join(own), keep_blank_values=True))
        options = {name: value or None for name, value in named.items()} | options
        address = f"{scheme.partition('+')[0]}{colon}{place}{mark}{'&'.join(others)}"
        found = cls(address, collection, **options)
        if any(name.endswith("_column") for name in options):
            return found
        layout = layout_of(found._reader.there())
        found.close()
        return cls(address, collection, **(layout | options))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.table!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both read one table in one way."""
        if not isinstance(other, PostgresVectors):
            return NotImplemented
        return self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place[1:3])

    def close(self) -> None:
        """End all connections; they are made again when they are needed."""
        self._connections.close()

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        The identity is made of the numbers of the server, the database, the table and the column of
        vectors: a table that is dropped and made anew has another one, and so has a restored copy.

        Raises:
            EmptyCollectionError: No row has had a vector yet.
            UnsupportedCollectionError: The table cannot be searched as it is.
        """
        found = self._reader.described()
        if found.id != self._filled:  # once, as this stands before each search
            any_row = self._asked("SELECT 1 FROM {table} WHERE {passing} LIMIT 1")
            if self._reader.one(any_row) is None:
                raise EmptyCollectionError(
                    f"The table {self.table!r} holds no vector in the column "
                    f"{self._reader.columns.vector!r}. At least one is needed. Store the vectors "
                    "of its rows."
                )
            self._filled = found.id
        return CollectionInfo(self.table, found.id, found.dimension, found.space)

    def count(self) -> int:
        """Number of rows with a vector now; the server counts them one by one."""
        what = "*" if self._reader.columns.unique else "DISTINCT {id}"
        asked = self._asked(f"SELECT count({what}) FROM {{table}} WHERE {{passing}}")
        (rows,) = self._reader.one(asked) or [0]
        return int(rows)

    def state(self) -> str:
        """Changes with every row that is written, updates in place included."""
        (state,) = self._reader.one(
            self._asked(
                "SELECT concat_ws(' ', count(*), sum(hashtextextended({id}::text, "
                "xmin::text::bigint))) FROM {table} WHERE {passing}"
            )
        ) or [""]
        return str(state)

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows with vectors, texts and metadata, each as likely as any other.

        Those whose hashed ids come first: the same rows for the same seed on the same version of
        the server. Of tables above two million rows only some pages of the disk are looked at; the
        choice is then repeatable until rows are written.
        """
        size = at_least("size", size, 1, optional=False)
        rows = Rows(())
        for part in sampled(self._reader.describe().rows, size, seed):
            source = self._asked(
                "FROM {table} JOIN (SELECT {distinct} {id}, "
                "hashtextextended({id}::text, {seed}) AS place FROM {table} {part} "
                "WHERE {passing} ORDER BY place, {id} LIMIT {size}) _drawn "
                "USING ({id}) ORDER BY _drawn.place, {id}",
                distinct=sql.SQL("" if self._reader.columns.unique else "DISTINCT"),
                part=part,
                seed=sql.Literal(seed % 2**63),
                size=sql.Literal(size),
            )
            rows = _distinct(self._reader.rows(source, vectors=True, records=True))
            if len(rows) == size:
                break
        return rows

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in the order of the ids."""
        passing = conditions(self._reader.columns, where, where_document)
        after = sql.Composed([sql.SQL("TRUE")])
        while True:
            source = self._asked(
                "FROM {table} WHERE {after} AND {passing} ORDER BY {table}.{id} LIMIT {size}",
                after=after,
                passing=passing,
                size=sql.Literal(_PAGE),
            )
            rows = self._reader.rows(source, vectors=vectors, records=records)
            yield _distinct(rows)
            if len(rows) < _PAGE:
                return
            after = self._asked("{id} > ({last})[1]", last=self._reader.ids(rows.ids[-1:]))

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        source = self._asked(
            "FROM {table} WHERE {passing} AND {id} = ANY({ids})", ids=self._reader.ids(ids)
        )
        rows = self._reader.rows(source, vectors=vectors, records=records)
        position = {row: i for i, row in enumerate(rows.ids)}
        return rows.take([position[row] for row in ids if row in position])

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        candidates: int | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Neighbours:
        """The `k` nearest rows of one vector, shape (d,), by the index; vectors come along.

        An index of the kind hnsw looks for so many `candidates`, else for twice as many rows as are
        wanted and for 100 or more, at most 1,000, and each kind goes on until enough have passed
        the filters. Where the planner of the server expects
        reading all rows to be cheaper, it does that. Rows without a direction are not found in a
        cosine space.

        Raises:
            CollectionMismatchError: The vector has another dimension than the table.
            ConfigError: `k` is no positive number, or a filter is malformed.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
        """
        query = one_vector(vector)
        k = at_least("k", k, 1, optional=False)
        passing = conditions(self._reader.columns, where, where_document)
        table = self._reader.described()
        if len(query) != table.dimension:
            raise wrong_dimension(self.table, table.dimension, len(query))
        parts = {
            "near": DISTANCES[table.space],
            "query": sql.Literal(json.dumps(query.tolist())),
            "type": sql.Identifier(table.vector),
            "along": self._reader.along(vectors, records),
            "passing": passing,
        }
        found = self._nearest(table, k, candidates, parts)
        scores = _scores([row[1] for row in found], table.space)
        order = [int(i) for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
        rows = self._reader.read([(found[i][0], *found[i][2:]) for i in order], vectors, records)
        return Neighbours(rows, scores[order])

    def _nearest(
        self, table: Table, k: int, candidates: int | None, parts: Mapping[str, sql.Composable]
    ) -> list[tuple[Any, ...]]:
        """The `k` nearest rows; more are asked for where some share an id."""
        wanted = self._asked(
            "SELECT {id}::text, {vector} {near} {query}::{type} AS distance{along} "
            "FROM {table} WHERE {passing} ORDER BY distance LIMIT {k}",
            **parts,
            k=sql.Literal(k),
        )
        found = self._search(wanted, looking(table, k, candidates))
        if len(found) < k and table.index:
            found = self._search(wanted, looking(None, k))
        nearest: dict[str, tuple[Any, ...]] = {}
        for row in found:
            nearest.setdefault(row[0], row)
        if len(nearest) == len(found) or len(found) < k:
            return list(nearest.values())
        return self._nearest(table, 2 * k, candidates, parts)[:k]

    def _search(self, wanted: sql.Composed, settings: sql.Composed) -> list[tuple[Any, ...]]:
        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            # Settings end with the transaction: a pool in between may share the connection. What
            # is sent in one go is one.
            with connection.pipeline(), connection.cursor(binary=True) as cursor:
                connection.execute(settings)
                return cursor.execute(wanted).fetchall()

        return self._reader.ask(ask)

    def _asked(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """A request with the names of the table filled in."""
        reader = self._reader
        parts.setdefault("passing", conditions(reader.columns, None, None))
        return sql.SQL(text).format(table=reader.name, id=reader.key, vector=reader.vector, **parts)


def _distinct(rows: Rows) -> Rows:
    """Rows without those whose id has come before."""
    first = {row: place for place, row in reversed(list(enumerate(rows.ids)))}
    return rows if len(first) == len(rows) else rows.take(sorted(first.values()))


def _scores(distances: Sequence[float], space: Space) -> FloatArray:
    """Similarities: pgvector gives 1 - cosine, minus the inner product, the Euclidean distance."""
    found = np.array(distances, dtype=np.float64)
    scores = {"cosine": 1 - found, "ip": -found, "l2": -np.square(found)}[space]
    return scores.astype(np.float32)
