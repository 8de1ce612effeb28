"""Filters on metadata and texts, which are those of every store, as Qdrant's conditions."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from instruct_embeddings._types import Where
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.filters import (
    NEGATED,
    ORDER,
    Comparison,
    Condition,
    parse_where,
    parse_where_document,
    translate_filter,
)
from qdrant_instruct_embeddings.payloads import Layout

# Up to here every integer is a float, which ranges compare with.
_EXACT = 2**53


def conditions(
    layout: Layout, where: Where | None, where_document: Where | None
) -> list[models.Condition]:
    """What a row must pass, none where there is no filter.

    Of lists in the metadata, Qdrant compares each element: equality holds where one is equal.

    Raises:
        ConfigError: A filter is malformed, or cannot be said to Qdrant.
    """
    found: list[models.Condition] = []
    if (parsed := parse_where(where)) is not None:
        found.append(_translated(parsed, lambda one: _metadata(layout.path(one.key), one)))
    if (parsed := parse_where_document(where_document)) is not None:
        path = layout.text_path
        found.append(_translated(parsed, lambda one: _text(path, one)))
    return found


def _translated(parsed: Condition, test: Callable[[Comparison], models.Condition]) -> models.Filter:
    def passing(one: Comparison) -> models.Filter:
        if one.operator in NEGATED:  # passed where the key is missing
            return models.Filter(
                must_not=[test(Comparison(one.key, NEGATED[one.operator], one.value))]
            )
        return models.Filter(must=[test(one)])

    def join(every: bool, parts: list[models.Filter]) -> models.Filter:
        return models.Filter(must=[*parts]) if every else models.Filter(should=[*parts])

    return translate_filter(parsed, test=passing, join=join, native=_native)


def _metadata(path: str, one: Comparison) -> models.Condition:
    if one.operator in ORDER:
        return models.FieldCondition(key=path, range=models.Range(**{one.operator[1:]: one.value}))
    if one.operator != "$in":  # equality, of an element where the metadata holds a list
        return _equal(path, one.value)
    texts = [value for value in one.value if isinstance(value, str)]
    rest: list[models.Condition] = [
        _equal(path, value) for value in one.value if not isinstance(value, str)
    ]
    if texts:
        rest.append(models.FieldCondition(key=path, match=models.MatchAny(any=texts)))
    return models.Filter(should=rest) if rest else models.HasIdCondition(has_id=[])


def _equal(path: str, value: Any) -> models.FieldCondition:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (isinstance(value, float) or abs(value) <= _EXACT):
        # A match tells 2 from 2.0.
        return models.FieldCondition(key=path, range=models.Range(gte=value, lte=value))
    return models.FieldCondition(key=path, match=models.MatchValue(value=value))


def _text(path: str, one: Comparison) -> models.Condition:
    if not one.value:  # is in every text
        return models.Filter(must=[])
    substring = getattr(models, "MatchSubstring", None)
    if substring is None:
        raise ConfigError(
            "where_document cannot be obeyed: this qdrant-client is older than 1.20, whose filters "
            "compare words only. Install qdrant-client>=1.20, with a server of 1.20, or pass "
            'where={"$native": models.Filter(...)}.'
        )
    return models.FieldCondition(key=path, match=substring(substring=one.value))


def _native(value: Any) -> models.Filter:
    try:
        return models.Filter.model_validate(value)
    except ValidationError:
        raise ConfigError(
            f"$native takes a filter of Qdrant, got {value!r:.200}. Allowed is a "
            "qdrant_client.models.Filter, or the same as a mapping. Pass one of these."
        ) from None
