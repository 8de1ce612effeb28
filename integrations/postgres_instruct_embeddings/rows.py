"""Requests for rows of a table, and what comes back as `Rows`."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from psycopg import sql

from instruct_embeddings._threads import Lately
from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.protocols import Rows
from postgres_instruct_embeddings.connections import Connection, Connections
from postgres_instruct_embeddings.errors import translate
from postgres_instruct_embeddings.table import Columns, Table, describe

_NOTHING = sql.Composed([])
_SCANNED_QUICKLY = 10_000
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class RowReader:
    """Reads from one table; whatever else is asked goes through `ask`.

    Attributes:
        name: Of the table, with its schema where it has one.
        columns: That are read.
    """

    def __init__(
        self,
        connections: Connections,
        name: sql.Identifier,
        columns: Columns,
        space: Space | None,
        check_every: float,
    ) -> None:
        self.name, self.columns = name, columns
        self.key, self.vector = sql.Identifier(columns.id), sql.Identifier(columns.vector)
        self._connections, self._space = connections, space
        self._known: Table | None = None
        self._lately: Lately[Table] = Lately(check_every)

    @property
    def table(self) -> Table:
        """The table as it was last described."""
        return self._known or self.describe()

    def there(self) -> list[str]:
        """Names of all columns of the table; none where it is not there."""
        asked = sql.SQL(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({}) AND attnum > 0"
        ).format(sql.Literal(self.name.as_string(None)))
        return [row[0] for row in self.ask(lambda one: one.execute(asked).fetchall())]

    def describe(self) -> Table:
        """The table as it is now."""
        found = self.ask(lambda one: describe(one, self.name, self.columns, self._space))
        if self._known is None and not found.indexed and found.rows > _SCANNED_QUICKLY:
            _log.warning(
                "No index finds rows of %s by %r, so each search reads the whole table. Make one "
                "with: CREATE INDEX ON %s (%s)",
                *[self.name.as_string(None), self.columns.id] * 2,
            )
        self._known = found
        return found

    def described(self) -> Table:
        """The table as it was some seconds ago at most."""
        return self._lately.get(self.describe)

    def ask(self, read: Callable[[Connection], _Answer]) -> _Answer:
        """What the server answers, its errors translated."""
        try:
            return self._connections.ask(read)
        except Exception as error:
            self._known = None
            self._lately.forget()
            known = translate(error, self.name.as_string(None).replace('"', ""))
            if known is None:
                raise
            raise known from error

    def one(self, asked: sql.Composed) -> tuple[Any, ...] | None:
        """The first row of an answer."""
        return self.ask(lambda connection: connection.execute(asked).fetchone())

    def rows(self, source: sql.Composed, *, vectors: bool, records: bool) -> Rows:
        """Rows of a request that goes on with `source`, which begins with FROM."""
        asked = sql.SQL("SELECT {}.{}::text{} {}").format(
            self.name, self.key, self.along(vectors, records), source
        )

        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(asked).fetchall()

        return self.read(self.ask(ask), vectors, records)

    def read(self, found: Sequence[tuple[Any, ...]], vectors: bool, records: bool) -> Rows:
        """Rows of an answer: ids, and what `along` asked for."""
        fields: dict[str, Any] = {}
        if vectors:
            fields["vectors"] = read_vectors([row[-1] for row in found], self.table.dimension)
        if records:
            fields["texts"] = tuple(row[1] for row in found)
            # In one order, as hosts hash them.
            fields["metadatas"] = tuple(
                dict(sorted(row[2].items())) if isinstance(row[2], dict) else {} for row in found
            )
        return Rows(tuple(row[0] for row in found), **fields)

    def along(self, vectors: bool, records: bool) -> sql.Composed:
        """Further columns of a request: text and metadata, then the vector."""
        found = _NOTHING
        if records:
            found += sql.SQL(", {}, {}").format(*self._records())
        if vectors:
            found += sql.SQL(", {}.{}::vector").format(self.name, self.vector)
        return found

    def ids(self, ids: Sequence[str]) -> sql.Composed:
        """Ids in the type of the table; those that cannot be of that type are left out."""
        kind = self.table.key
        known = [row for row in ids if _can_be(row, kind)]
        return sql.SQL("{}::{}[]").format(sql.Literal(known), sql.Identifier(kind))

    def _records(self) -> list[sql.Composed]:
        text, nothing = self.columns.text, sql.SQL("NULL::{}")
        return [
            nothing.format(sql.SQL("text"))
            if text is None
            else sql.SQL("{}.{}::text").format(self.name, sql.Identifier(text)),
            self.columns.data(self.name) or nothing.format(sql.SQL("jsonb")),
        ]


def read_vectors(stored: Sequence[bytes], dimension: int) -> FloatArray:
    """Vectors as pgvector sends them: two short numbers, then floats, the highest byte first."""
    found = np.frombuffer(b"".join(row[4:] for row in stored), dtype=">f4")
    return found.reshape(len(stored), -1 if stored else dimension).astype(np.float32)


def _can_be(row: str, kind: str) -> bool:
    """Whether an id can be one of a type; PostgreSQL refuses a request with one that cannot."""
    try:
        if kind == "uuid":
            return str(UUID(row)) == row
        if kind.startswith("int"):
            return str(int(row)) == row and abs(int(row)) < 2 ** (8 * int(kind[3:]) - 1)
    except ValueError:
        return False
    return True
