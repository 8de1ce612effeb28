"""A table of PostgreSQL with a pgvector column as the `VectorCollection` retrieval works on."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import numpy as np
from psycopg import RawCursor, sql
from typing_extensions import LiteralString, Self

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.adapters import AdaptedCollection, Asked
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Capabilities, Rows
from postgres_instruct_embeddings.connections import Connection, Connections
from postgres_instruct_embeddings.errors import translate
from postgres_instruct_embeddings.filters import conditions
from postgres_instruct_embeddings.hosts import layout_of, table_behind
from postgres_instruct_embeddings.rows import VectorDumper, along, listed, read
from postgres_instruct_embeddings.statements import DISTANCES, looking, sampled
from postgres_instruct_embeddings.table import Columns, Table, describe

_PAGE = 2000
_SCANNED_QUICKLY = 10_000
# Of an address, for this class; libpq knows the others.
_OPTIONS = ("schema", "id_column", "vector_column", "text_column", "metadata_column", "space")
_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


class PostgresVectors(AdaptedCollection[Table]):
    """The vectors of a table of PostgreSQL with pgvector 0.8 or newer; read only.

    Rows without a vector are left out. A condition on the metadata is looked up in the JSON of each
    candidate; where fewer rows pass it than were wanted, the index is asked no longer and all rows
    are compared, so that an answer is short only where no more rows pass.

    An index of the kind hnsw looks for at most 1,000 candidates, and each kind goes on until enough
    have passed the filters. Where the planner of the server expects reading all rows to be cheaper,
    it does that. Rows without a direction are not found in a cosine space.

    The identity is made of the numbers of the server, the database, the table and the column of
    vectors: a table that is dropped and made anew has another one, and so has a restored copy.

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
        columns = Columns(
            id_column,
            vector_column,
            text_column,
            metadata_column,
            tuple(metadata_columns),
            unique_ids,
        )
        super().__init__(table, (source, schema, columns, space), check_every, kind="table")
        self.table, self._columns, self._space = table, columns, space
        self._connections = Connections(source)
        self._table = sql.Identifier(schema, table) if schema else sql.Identifier(table)

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
        layout = layout_of(found._there())
        found.close()
        return cls(address, collection, **(layout | options))

    def close(self) -> None:
        """End all connections; they are made again when they are needed."""
        self._connections.close()

    def count(self) -> int:
        """Number of rows with a vector now; the server counts them one by one."""
        what = "*" if self._columns.unique else "DISTINCT {id}"
        asked = self._asked(f"SELECT count({what}) FROM {{table}} WHERE {{passing}}")
        (rows,) = self._one(asked) or [0]
        return int(rows)

    def state(self) -> str:
        """Changes with every row that is written, updates in place included."""
        (state,) = self._one(
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
        for part in sampled(self._describe().rows, size, seed):
            source = self._asked(
                "FROM {table} JOIN (SELECT {distinct} {id}, "
                "hashtextextended({id}::text, {seed}) AS place FROM {table} {part} "
                "WHERE {passing} ORDER BY place, {id} LIMIT {size}) _drawn "
                "USING ({id}) ORDER BY _drawn.place, {id}",
                distinct=sql.SQL("" if self._columns.unique else "DISTINCT"),
                part=part,
                seed=sql.Literal(seed % 2**63),
                size=sql.Literal(size),
            )
            rows = _distinct(self._rows(source, Asked(vectors=True, records=True)))
            if len(rows) == size:
                break
        return rows

    def _pages(self, asked: Asked) -> Iterator[Rows]:
        passing = conditions(self._columns, asked)
        after = sql.Composed([sql.SQL("TRUE")])
        while True:
            source = self._asked(
                "FROM {table} WHERE {after} AND {passing} ORDER BY {table}.{id} LIMIT {size}",
                after=after,
                passing=passing,
                size=sql.Literal(_PAGE),
            )
            rows = self._rows(source, asked)
            yield _distinct(rows)
            if len(rows) < _PAGE:
                return
            last = listed(rows.ids[-1:], self._collection)
            after = self._asked("{id} > ({last})[1]", last=last)

    def _by_ids(self, ids: list[str], asked: Asked) -> Rows:
        wanted = listed(ids, self._collection)
        return self._rows(
            self._asked("FROM {table} WHERE {passing} AND {id} = ANY({ids})", ids=wanted), asked
        )

    def _nearest(
        self, found: Table, query: FloatArray, k: int, asked: Asked
    ) -> tuple[Rows, FloatArray]:
        parts = {
            "near": DISTANCES[found.space],
            # From one type to the other, as a query comes in single precision.
            "type": sql.SQL("" if found.vector == "vector" else "::halfvec"),
            "along": along(self._columns, self._table, asked),
            "passing": conditions(self._columns, asked),
        }
        rows = self._nearest_rows(found, query, k, asked, parts)
        # pgvector gives 1 - cosine, minus the inner product, the Euclidean distance.
        away = np.array([row[1] for row in rows], dtype=np.float64)
        scores = {"cosine": 1 - away, "ip": -away, "l2": -np.square(away)}[found.space]
        return read([(row[0], *row[2:]) for row in rows], asked, found.dimension), scores

    def _nearest_rows(
        self,
        table: Table,
        query: FloatArray,
        k: int,
        asked: Asked,
        parts: Mapping[str, sql.Composable],
    ) -> list[tuple[Any, ...]]:
        """The `k` nearest rows; more are asked for where some share an id."""
        wanted = self._asked(
            "SELECT {id}::text, {vector} {near} $1::vector{type} AS distance{along} "
            "FROM {table} WHERE {passing} ORDER BY distance LIMIT {k}",
            **parts,
            k=sql.Literal(k),
        )
        found = self._search(wanted, query, looking(table, k, asked.depth(k)))
        if len(found) < k and table.index:
            found = self._search(wanted, query, looking(None, k, k))
        nearest: dict[str, tuple[Any, ...]] = {}
        for row in found:
            nearest.setdefault(row[0], row)
        if len(nearest) == len(found) or len(found) < k:
            return list(nearest.values())
        return self._nearest_rows(table, query, 2 * k, asked, parts)[:k]

    def _search(
        self, wanted: sql.Composed, query: FloatArray, settings: sql.Composed
    ) -> list[tuple[Any, ...]]:
        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            # Settings end with the transaction: a pool in between may share the connection. What
            # is sent in one go is one.
            with connection.pipeline(), RawCursor(connection) as cursor:
                connection.execute(settings)
                cursor.adapters.register_dumper(np.ndarray, VectorDumper)
                # Not prepared: that pool may not know it, and a plan for any query is worse.
                cursor.execute(wanted, [query], prepare=False, binary=True)
                return cursor.fetchall()

        return self._asking(ask)

    def _rows(self, source: sql.Composed, asked: Asked) -> Rows:
        """Rows of a request that goes on with `source`, which begins with FROM."""
        wanted = self._asked(
            "SELECT {table}.{id}::text{along} {source}",
            along=along(self._columns, self._table, asked),
            source=source,
        )

        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(wanted).fetchall()

        return read(self._asking(ask), asked, self._collection.dimension)

    def _one(self, asked: sql.Composed) -> tuple[Any, ...] | None:
        """The first row of an answer."""
        return self._asking(lambda connection: connection.execute(asked).fetchone())

    def _asking(self, ask: Callable[[Connection], _Answer]) -> _Answer:
        return self._ask(lambda: self._connections.ask(ask))

    def _there(self) -> list[str]:
        """Names of all columns of the table; none where it is not there."""
        asked = sql.SQL(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({}) AND attnum > 0"
        ).format(sql.Literal(self._table.as_string(None)))
        return [row[0] for row in self._asking(lambda one: one.execute(asked).fetchall())]

    def _translated(self, error: Exception) -> InstructEmbeddingsError | None:
        return translate(error, self._table.as_string(None).replace('"', ""))

    def _described(self, before: Table | None) -> Table:
        found = self._connections.ask(
            lambda one: describe(one, self._table, self._columns, self._space)
        )
        if before is None and not found.indexed and found.rows > _SCANNED_QUICKLY:
            _log.warning(
                "No index finds rows of %s by %r, so each search reads the whole table. Make one "
                "with: CREATE INDEX ON %s (%s)",
                *[self._table.as_string(None), self._columns.id] * 2,
            )
        return found

    def _holds_vectors(self, found: Table) -> bool:
        return self._one(self._asked("SELECT 1 FROM {table} WHERE {passing} LIMIT 1")) is not None

    def _asked(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """A request with the names of the table filled in."""
        columns = self._columns
        parts.setdefault("passing", conditions(columns, Asked()))
        key, vector = sql.Identifier(columns.id), sql.Identifier(columns.vector)
        return sql.SQL(text).format(table=self._table, id=key, vector=vector, **parts)


def _distinct(rows: Rows) -> Rows:
    """Rows without those whose id has come before."""
    first = {row: place for place, row in reversed(list(enumerate(rows.ids)))}
    return rows if len(first) == len(rows) else rows.take(sorted(first.values()))
