"""What requests for rows of a table name, and what comes back as `Rows`."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from instruct_embeddings._types import FloatArray
from instruct_embeddings.adapters import Asked
from instruct_embeddings.protocols import Rows
from postgres_instruct_embeddings.table import Columns, Table


class VectorDumper(Dumper):
    """A vector as pgvector takes it: two short numbers, then floats, the highest byte first."""

    format = Format.BINARY
    oid = 0  # what it is cast to

    def dump(self, obj: FloatArray) -> bytes:  # noqa: D102
        return np.array([len(obj), 0], dtype=">u2").tobytes() + obj.astype(">f4").tobytes()


def along(columns: Columns, table: sql.Identifier, asked: Asked) -> sql.Composed:
    """Further columns of a request: text and metadata, then the vector."""
    found = sql.Composed([])
    if asked.records:
        text: sql.Composable = sql.SQL("NULL::text")
        if columns.text is not None:
            text = sql.SQL("{}.{}::text").format(table, sql.Identifier(columns.text))
        data = columns.data(table) or sql.SQL("NULL::jsonb")
        found += sql.SQL(", {}, {}").format(text, data)
    if asked.vectors:
        found += sql.SQL(", {}.{}::vector").format(table, sql.Identifier(columns.vector))
    return found


def read(found: Sequence[tuple[Any, ...]], asked: Asked, dimension: int) -> Rows:
    """Rows of an answer: ids, and what `along` asked for."""
    vectors = None
    if asked.vectors:
        numbers = np.frombuffer(b"".join(row[-1][4:] for row in found), dtype=">f4")
        vectors = numbers.reshape(len(found), -1 if found else dimension).astype(np.float32)
    records = ((row[1], row[2]) for row in found) if asked.records else None
    return Rows.read([row[0] for row in found], vectors, records)


def listed(ids: Sequence[str], table: Table) -> sql.Composed:
    """Ids in the type of the table; those that cannot be of that type are left out."""
    known = [row for row in ids if _can_be(row, table.key)]
    return sql.SQL("{}::{}[]").format(sql.Literal(known), sql.Identifier(table.key))


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
