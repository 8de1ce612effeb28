"""Filters on metadata and texts, which are those of Chroma, as conditions of SQL."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg import sql

from instruct_embeddings._types import Where
from instruct_embeddings.config import check_filter
from instruct_embeddings.errors import ConfigError
from postgres_instruct_embeddings.table import Columns

_TRUE = sql.Composed([sql.SQL("TRUE")])
_ORDER = {"$gt": sql.SQL(">"), "$gte": sql.SQL(">="), "$lt": sql.SQL("<"), "$lte": sql.SQL("<=")}
_JOINED = {"$and": sql.SQL(" AND "), "$or": sql.SQL(" OR ")}
_KEYS = ("$eq", "$ne", *_ORDER, "$in", "$nin", "$contains", "$not_contains")
_TEXTS = ("$contains", "$not_contains")


def conditions(columns: Columns, where: Where | None, where_document: Where | None) -> sql.Composed:
    """What a row of the collection passes: it has a vector, and both filters hold.

    A row that lacks a key passes `$ne`, `$nin` and `$not_contains` of it and nothing else; a row
    without a text has an empty one.

    Raises:
        ConfigError: A filter is malformed, or on a column that the table does not have.
    """
    check_filter("where", where)
    check_filter("where_document", where_document)
    parts: list[sql.Composed] = [sql.SQL("{} IS NOT NULL").format(sql.Identifier(columns.vector))]
    if where:
        column = _column("where", columns.metadata, "metadata_column")
        parts.append(_metadata(where, sql.SQL("{}::jsonb").format(column)))
    if where_document:
        column = _column("where_document", columns.text, "text_column")
        parts.append(_text(where_document, sql.SQL("coalesce({}::text, '')").format(column)))
    return sql.SQL(" AND ").join(parts)


def _column(name: str, column: str | None, setting: str) -> sql.Identifier:
    if column is None:
        raise ConfigError(
            f"{name} cannot be obeyed: the table was opened with {setting}=None. A filter needs "
            f"that column. Name it, or search without {name}."
        )
    return sql.Identifier(column)


def _metadata(where: Where, data: sql.Composed) -> sql.Composed:
    parts = []
    for key, want in where.items():
        if key in _JOINED:
            parts.append(_several(key, want, lambda inner: _metadata(inner, data)))
            continue
        if not isinstance(key, str) or key.startswith("$"):
            raise _unknown(key, tuple(_JOINED))
        tests = want if isinstance(want, Mapping) else {"$eq": want}
        if not tests:
            raise ConfigError(f"The filter on {key!r} is empty. Use one of {', '.join(_KEYS)}.")
        parts += [_test(data, key, operator, value) for operator, value in tests.items()]
    return _all(parts)


def _test(data: sql.Composed, key: str, operator: str, value: Any) -> sql.Composed:
    if operator in _ORDER:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"{operator} on {key!r} compares numbers, got {value!r:.60}. Pass a number."
            )
        # A case, as conditions that are joined may be looked at in any order.
        return sql.SQL(
            "CASE WHEN jsonb_typeof({0} -> {1}) = 'number' "
            "THEN ({0} ->> {1})::numeric {2} {3}::numeric ELSE FALSE END"
        ).format(data, sql.Literal(key), _ORDER[operator], sql.Literal(_json(value)))
    if operator not in _KEYS:
        raise _unknown(operator, _KEYS)
    if operator in ("$in", "$nin"):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{operator} on {key!r} takes a list, got {value!r:.60}.")
        wanted = [_json({key: one}) for one in value]
    elif operator in _TEXTS:
        wanted = [_json({key: [value]})]
    else:
        wanted = [_json({key: value})]
    # Containment rather than equality: an index (GIN) on the metadata serves it.
    holds = sql.SQL("{} @> ANY({}::jsonb[])").format(data, sql.Literal(wanted))
    if len(wanted) == 1:
        holds = sql.SQL("{} @> {}::jsonb").format(data, sql.Literal(wanted[0]))
    return _negated(holds) if operator in ("$ne", "$nin", "$not_contains") else holds


def _text(where: Where, text: sql.Composed) -> sql.Composed:
    parts = []
    for operator, want in where.items():
        if operator in _JOINED:
            parts.append(_several(operator, want, lambda inner: _text(inner, text)))
            continue
        if operator not in _TEXTS:
            raise _unknown(operator, (*_TEXTS, *_JOINED))
        if not isinstance(want, str):
            raise ConfigError(f"{operator} on texts takes a text, got {want!r:.60}.")
        holds = sql.SQL("position({} IN {}) > 0").format(sql.Literal(want), text)
        parts.append(holds if operator == "$contains" else _negated(holds))
    return _all(parts)


def _several(operator: str, inner: Any, translate: Callable[[Where], sql.Composed]) -> sql.Composed:
    good = isinstance(inner, Sequence) and inner and all(isinstance(one, Mapping) for one in inner)
    if not good:
        raise ConfigError(f"{operator} takes a list of filters, got {inner!r:.60}.")
    return sql.SQL("({})").format(_JOINED[operator].join(translate(one) for one in inner))


def _all(parts: Sequence[sql.Composed]) -> sql.Composed:
    return sql.SQL("({})").format(_JOINED["$and"].join(parts)) if parts else _TRUE


def _negated(holds: sql.Composed) -> sql.Composed:
    return sql.SQL("({}) IS NOT TRUE").format(holds)


def _json(value: Any) -> str:
    inner = value
    while isinstance(inner, dict | list):
        (inner,) = inner.values() if isinstance(inner, dict) else inner
    try:
        if not isinstance(inner, str | bool | int | float):
            raise TypeError
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigError(
            f"A filter compares with {inner!r:.60}. Allowed are texts, finite numbers, True and "
            "False. Pass one of these."
        ) from None


def _unknown(operator: object, known: tuple[str, ...]) -> ConfigError:
    return ConfigError(f"Unknown filter operator {operator!r:.60}; known are {sorted(known)}.")
