"""LlamaIndex metadata filters as a Chroma `where`."""

from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from instruct_embeddings.errors import ConfigError

_SINGLE = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}
_TEXTS_TOO = (FilterOperator.EQ, FilterOperator.NE, FilterOperator.CONTAINS)
_LIST = {FilterOperator.IN: "$in", FilterOperator.NIN: "$nin"}
_EXPANDED = {FilterOperator.ANY: "$or", FilterOperator.ALL: "$and"}
_CONDITIONS = {FilterCondition.AND: "$and", FilterCondition.OR: "$or"}


def to_where(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Translate metadata filters.

    `any` and `all` look for values in a metadata list, as `contains` does.

    Args:
        filters: Filters, nested to any depth under `and` and `or`.

    Returns:
        A Chroma `where`; `None` where nothing is filtered.

    Raises:
        ConfigError: An operator, a condition or a value that Chroma cannot express; or something
            else than filters.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise ConfigError(
            f"filters={filters!r} are no MetadataFilters. Pass "
            'MetadataFilters(filters=[MetadataFilter(key="area", value="billing")]), or None.'
        )
    condition = filters.condition or FilterCondition.AND
    if condition not in _CONDITIONS:
        raise ConfigError(
            f"Chroma cannot express the filter condition {condition.value!r}; it knows 'and' and "
            "'or'. Write the opposite operators instead, such as != for ==."
        )
    clauses = [_one(item) for item in filters.filters]
    return _combine(_CONDITIONS[condition], [clause for clause in clauses if clause is not None])


def _one(item: MetadataFilter | MetadataFilters) -> dict[str, Any] | None:
    if isinstance(item, MetadataFilters):
        return to_where(item)
    if item.operator in _SINGLE:
        return {item.key: {_SINGLE[item.operator]: _single(item)}}
    if item.operator in _LIST:
        return {item.key: {_LIST[item.operator]: _values(item)}}
    if item.operator in _EXPANDED:
        clauses = [{item.key: {"$contains": value}} for value in _values(item)]
        return _combine(_EXPANDED[item.operator], clauses)
    known = sorted(operator.value for operator in (*_SINGLE, *_LIST, *_EXPANDED))
    raise ConfigError(
        f"Chroma cannot filter metadata with the operator {item.operator.value!r} (key "
        f"{item.key!r}); it knows {', '.join(known)}. To search in the text, pass "
        'where_document={"$contains": "..."} to the retriever.'
    )


def _combine(condition: str, clauses: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(clauses) < 2:
        return clauses[0] if clauses else None
    return {condition: clauses}


def _single(item: MetadataFilter) -> str | int | float:
    if item.operator in _TEXTS_TOO and isinstance(item.value, str):
        return item.value
    if isinstance(item.value, int | float):
        return item.value
    raise _wrong_value(item, "a string or a number" if item.operator in _TEXTS_TOO else "a number")


def _values(item: MetadataFilter) -> list[Any]:
    if isinstance(item.value, list) and item.value:
        return list(item.value)
    raise _wrong_value(item, "a list with at least one value")


def _wrong_value(item: MetadataFilter, allowed: str) -> ConfigError:
    return ConfigError(
        f"The filter {item.key!r} {item.operator.value} {item.value!r} cannot be used: Chroma "
        f"wants {allowed} after {item.operator.value!r}. Change the value or the operator."
    )
