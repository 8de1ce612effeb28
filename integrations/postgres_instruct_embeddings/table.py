"""What the catalogue of a database says of a table of vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from instruct_embeddings._types import Space
from instruct_embeddings.adapters import Described
from instruct_embeddings.errors import UnsupportedCollectionError
from postgres_instruct_embeddings.connections import Connection

_SPACES: Mapping[str, Space] = {"cosine_ops": "cosine", "ip_ops": "ip", "l2_ops": "l2"}
_WORDS: Mapping[Space, str] = {space: name for name, space in _SPACES.items()}
_ID_TYPES = ("text", "varchar", "int2", "int4", "int8", "uuid")
_VECTOR_TYPES = ("vector", "halfvec")
_OLDEST = (0, 8)  # of pgvector: scans go on until enough rows pass a filter
# All in one request, as it stands before each fit and each search under an instruction.
_CATALOGUE = sql.SQL("""
WITH asked AS (SELECT to_regclass({table})::oid AS oid)
SELECT asked.oid,
    (SELECT concat_ws('-', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d
     WHERE d.datname = current_database()),
    (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
    (SELECT greatest(reltuples, 0) FROM pg_class c WHERE c.oid = asked.oid),
    (SELECT jsonb_object_agg(a.attname, jsonb_build_object(
        'number', a.attnum, 'type', t.typname, 'size', a.atttypmod,
        'unique', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = asked.oid AND i.indisunique
            AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum),
        'indexed', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = asked.oid
            AND i.indpred IS NULL AND i.indkey[0] = a.attnum)))
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = asked.oid AND a.attnum > 0 AND NOT a.attisdropped),
    (SELECT jsonb_agg(jsonb_build_array(m.amname, o.opcname, coalesce((SELECT option_value::int
        FROM pg_options_to_table(c.reloptions) WHERE option_name = 'lists'), 100)))
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
     JOIN pg_opclass o ON o.oid = i.indclass[0]
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = asked.oid AND a.attname = {vector} AND i.indisvalid AND i.indpred IS NULL
     AND m.amname IN ('hnsw', 'ivfflat'))
FROM asked
""")

_OTHERS = sql.SQL("""
SELECT string_agg(DISTINCT c.relname, ', ' ORDER BY c.relname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE t.typname IN ('vector', 'halfvec') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
AND NOT a.attisdropped AND pg_table_is_visible(c.oid)
""")


@dataclass(frozen=True)
class Columns:
    """Names of the columns; None where a table has no such column.

    `further` hold one value of the metadata each, under their names. `unique` is whether no two
    rows may have one id.
    """

    id: str
    vector: str
    text: str | None
    metadata: str | None
    further: tuple[str, ...] = ()
    unique: bool = True

    def data(self, table: sql.Identifier | None = None) -> sql.Composed | None:
        """All metadata of a row as jsonb, with the table's name in front where it is given."""
        before = sql.SQL("{}.").format(table) if table else sql.SQL("")
        column = self.metadata and sql.SQL("{}{}::jsonb").format(
            before, sql.Identifier(self.metadata)
        )
        if not self.further:  # as it stands, so that an index on it serves conditions
            return column or None
        pairs = [
            sql.SQL("{}, {}{}").format(sql.Literal(name), before, sql.Identifier(name))
            for name in self.further
        ]
        return sql.SQL("coalesce({}, '{{}}') || jsonb_build_object({})").format(
            column or sql.SQL("NULL::jsonb"), sql.SQL(", ").join(pairs)
        )


@dataclass(frozen=True)
class Table(Described):
    """A table as it is now; its id is of the server, the database, the table and the vectors.

    Attributes:
        key: Type of the ids.
        vector: Type of the vectors.
        index: "hnsw" or "ivfflat"; None where all rows are read.
        lists: Of an ivfflat index.
        rows: Number of rows, about, as last counted by the server.
        indexed: Whether an index finds rows by their ids.
    """

    key: str
    vector: str
    index: str | None
    lists: int
    rows: float
    indexed: bool = True


def describe(
    connection: Connection, name: sql.Identifier, columns: Columns, space: Space | None
) -> Table:
    """Read the catalogue.

    Args:
        connection: To the database.
        name: Of the table, with its schema where it has one.
        columns: That are read.
        space: Distance to search by; None takes that of the only index.

    Raises:
        UnsupportedCollectionError: The table cannot be searched as it is; the message says why.
    """
    shown = name.as_string(connection)
    asked = _CATALOGUE.format(table=sql.Literal(shown), vector=sql.Literal(columns.vector))
    found: Any = connection.execute(asked).fetchone()
    oid, database, version, rows, attributes, indexes = found
    if oid is None:
        (names,) = connection.execute(_OTHERS).fetchone() or [None]
        held = f"is not there; tables with vectors: {names or 'none'}"
        raise _unusable(shown, held, "Check the name, the schema and the database.")
    _check_version(shown, version)
    attributes = attributes or {}
    _check_columns(shown, columns, attributes)
    vector = attributes[columns.vector]
    kind, length, chosen = _index(shown, columns.vector, vector["type"], indexes or [], space)
    return Table(
        id=f"{database}-{oid}-{vector['number']}",
        key=attributes[columns.id]["type"],
        indexed=attributes[columns.id]["indexed"],
        vector=vector["type"],
        dimension=vector["size"],
        space=chosen,
        index=kind,
        lists=length,
        rows=rows,
    )


def _check_version(table: str, version: str | None) -> None:
    if version is None or tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise _unusable(
            table,
            f"lies in a database whose pgvector is {version or 'not installed'}; 0.8 is needed",
            "Install it and call CREATE EXTENSION vector, or ALTER EXTENSION vector UPDATE.",
        )


def _check_columns(table: str, columns: Columns, there: Mapping[str, Mapping[str, Any]]) -> None:
    named = [columns.id, columns.vector, columns.text, columns.metadata, *columns.further]
    for one in named:
        if one is not None and one not in there:
            raise _unusable(
                table,
                f"has no column {one!r}, only {sorted(there)}",
                "Say which columns to read: id_column, vector_column, text_column, metadata_column "
                "(None where there is no text or metadata).",
            )
    vector, key = there[columns.vector], there[columns.id]
    if vector["type"] not in _VECTOR_TYPES or vector["size"] < 1:
        raise _unusable(
            table,
            f"stores no vectors of a fixed length in {columns.vector!r}, whose type is "
            f"{vector['type']}; vector(n) and halfvec(n) are read",
            f"ALTER TABLE {table} ALTER {columns.vector} TYPE vector(n), or name the column.",
        )
    if key["type"] not in _ID_TYPES or (columns.unique and not key["unique"]):
        raise _unusable(
            table,
            f"has ids in {columns.id!r} that are {key['type']} and "
            f"{'unique' if key['unique'] else 'not unique'}; one of {', '.join(_ID_TYPES)} with a "
            "unique index over it alone is needed",
            f"Make it the primary key, or name another column: id_column={columns.id!r}.",
        )
    if columns.metadata is not None and there[columns.metadata]["type"] not in ("json", "jsonb"):
        raise _unusable(
            table,
            f"has metadata of the type {there[columns.metadata]['type']}; json and jsonb are read",
            "Name a column of these, or pass metadata_column=None.",
        )


def _index(
    table: str, column: str, kind: str, indexes: Sequence[tuple[str, str, int]], space: Space | None
) -> tuple[str | None, int, Space]:
    """The kind of the index to search by, its lists and its distance."""
    known = {}
    for method, operators, lists in sorted(indexes, reverse=True):  # hnsw goes before ivfflat
        if distance := _SPACES.get(operators.partition("_")[2]):
            known[distance] = (method, lists)
    if space is not None:
        return (*known.get(space, (None, 0)), space)
    if len(known) == 1:
        (only,) = known
        return (*known[only], only)
    makes = f"CREATE INDEX ON {table} USING hnsw ({column} {kind}_{_WORDS['cosine']})"
    raise _unusable(
        table,
        f"has {len(known)} indexes on {column!r} that can be searched"
        + (f", for {sorted(known)}" if known else " (hnsw or ivfflat by cosine, ip or l2)"),
        'Pass space="cosine", "ip" or "l2".'
        if known
        else f'Call {makes}. Or pass space="cosine" to read all rows at each search.',
    )


def _unusable(table: str, what: str, remedy: str) -> UnsupportedCollectionError:
    return UnsupportedCollectionError(f"The table {table} {what}. {remedy}")
