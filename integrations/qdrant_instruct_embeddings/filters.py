"""Filters on metadata and texts, which are those of every store, as Qdrant's conditions."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from instruct_embeddings.adapters import Asked
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.filters import NEGATED, ORDER, Comparison, translate_filter
from qdrant_instruct_embeddings.payloads import Layout

# Up to here every integer is a float, which ranges compare with.
_EXACT = 2**53


def conditions(layout: Layout, asked: Asked) -> list[models.Condition]:
    """What a row must pass, none where there is no filter.

    Of lists in the metadata, Qdrant compares each element: equality holds where one is equal.

    Raises:
        ConfigError: A filter cannot be said to Qdrant.
    """

    def passing(one: Comparison) -> models.Filter:
        positive = replace(one, operator=NEGATED.get(one.operator, one.operator))
        holds = _text(layout, positive) if one.of_text else _metadata(layout, positive)
        # One that is negated is passed where the key is missing.
        negated = one.operator in NEGATED
        return models.Filter(must_not=[holds]) if negated else models.Filter(must=[holds])

    def join(every: bool, parts: list[models.Filter]) -> models.Filter:
        return models.Filter(must=[*parts]) if every else models.Filter(should=[*parts])

    return [
        translate_filter(condition, test=passing, join=join, native=_native)
        for condition in (asked.where, asked.where_document)
        if condition is not None
    ]


def _metadata(layout: Layout, one: Comparison) -> models.Condition:
    path = layout.path(one.key)
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


def _text(layout: Layout, one: Comparison) -> models.Condition:
    path = layout.text_path
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
