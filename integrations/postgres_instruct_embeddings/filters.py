"""Filters on metadata and texts as conditions of SQL."""

import json
from functools import partial
from typing import Any

from psycopg import sql

from instruct_embeddings.adapters import Asked
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.filters import NEGATED, Comparison, Condition, translate_filter
from postgres_instruct_embeddings.table import Columns

_ORDER = {"$gt": sql.SQL(">"), "$gte": sql.SQL(">="), "$lt": sql.SQL("<"), "$lte": sql.SQL("<=")}


def conditions(columns: Columns, asked: Asked) -> sql.Composed:
    """What a row of the collection passes: it has a vector, and both filters hold.

    A native filter is a condition as text or a `psycopg.sql` object, and stands as it is.

    Raises:
        ConfigError: A filter is on a column that the table does not have.
    """
    parts: list[sql.Composed] = [sql.SQL("{} IS NOT NULL").format(sql.Identifier(columns.vector))]
    if asked.where is not None:
        data = columns.data()
        if data is None and _asks(asked.where):
            raise _missing("where", "metadata_column")
        parts.append(_condition(asked.where, data and sql.SQL("({})").format(data)))
    if asked.where_document is not None:
        if columns.text is None:
            raise _missing("where_document", "text_column")
        text = sql.SQL("coalesce({}::text, '')").format(sql.Identifier(columns.text))
        parts.append(_condition(asked.where_document, text))
    return sql.SQL(" AND ").join(parts)


def _condition(condition: Condition, data: Any) -> sql.Composed:
    return translate_filter(condition, test=partial(_test, data), join=_joined, native=_native)


def _asks(condition: Condition) -> bool:
    """Whether a condition reads the metadata."""
    found: list[bool] = []
    translate_filter(
        condition, test=lambda _: found.append(True), join=lambda *_: None, native=lambda _: None
    )
    return bool(found)


def _missing(name: str, setting: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be obeyed: the table was opened with {setting}=None. A filter needs "
        f"that column. Name it, or search without {name}."
    )


def _test(data: sql.Composed, test: Comparison) -> sql.Composed:
    if test.operator in _ORDER:
        # A case, as conditions that are joined may be looked at in any order.
        return sql.SQL(
            "CASE WHEN jsonb_typeof({0} -> {1}) = 'number' "
            "THEN ({0} ->> {1})::numeric {2} {3}::numeric ELSE FALSE END"
        ).format(
            data,
            sql.Literal(test.key),
            _ORDER[test.operator],
            sql.Literal(json.dumps(test.value)),
        )
    operator = NEGATED.get(test.operator, test.operator)
    if test.of_text:
        holds = sql.SQL("position({} IN {}) > 0").format(sql.Literal(test.value), data)
    else:
        values = test.value if operator == "$in" else (test.value,)
        each = [[value] if operator == "$contains" else value for value in values]
        wanted = [json.dumps({test.key: value}) for value in each]
        # Containment rather than equality: an index (GIN) on the metadata serves it.
        holds = sql.SQL("{} @> ANY({}::jsonb[])").format(data, sql.Literal(wanted))
        if len(wanted) == 1:
            holds = sql.SQL("{} @> {}::jsonb").format(data, sql.Literal(wanted[0]))
    return sql.SQL("({}) IS NOT TRUE").format(holds) if test.operator in NEGATED else holds


def _joined(every: bool, parts: list[sql.Composed]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(" AND " if every else " OR ").join(parts))


def _native(condition: Any) -> sql.Composed:
    if isinstance(condition, str):
        condition = sql.SQL(condition)
    if not isinstance(condition, sql.Composable):
        raise ConfigError(
            f"A native filter of PostgreSQL is {condition!r:.60}. Allowed are a condition as text, "
            "such as \"created > now() - interval '1 day'\", and a psycopg.sql object. Pass one."
        )
    return sql.SQL("({})").format(condition)
