"""LlamaIndex metadata filters as a Chroma `where`."""

from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from instruct_embeddings.errors import ConfigError

_SCALAR = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.CONTAINS: "$contains",
}
_NUMERIC = {
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}
_LIST = {FilterOperator.IN: "$in", FilterOperator.NIN: "$nin"}
_EXPANDED = {FilterOperator.ANY: "$or", FilterOperator.ALL: "$and"}
_CONDITIONS = {FilterCondition.AND: "$and", FilterCondition.OR: "$or"}
_SUPPORTED = sorted(op.value for table in (_SCALAR, _NUMERIC, _LIST, _EXPANDED) for op in table)


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
    parts = [_one(item) for item in filters.filters]
    return _combine(_CONDITIONS[condition], [part for part in parts if part is not None])


def _one(item: MetadataFilter | MetadataFilters) -> dict[str, Any] | None:
    if isinstance(item, MetadataFilters):
        return to_where(item)
    if item.operator in _SCALAR:
        return {item.key: {_SCALAR[item.operator]: _scalar(item)}}
    if item.operator in _NUMERIC:
        return {item.key: {_NUMERIC[item.operator]: _number(item)}}
    if item.operator in _LIST:
        return {item.key: {_LIST[item.operator]: _values(item)}}
    if item.operator in _EXPANDED:
        parts = [{item.key: {"$contains": value}} for value in _values(item)]
        return _combine(_EXPANDED[item.operator], parts)
    raise ConfigError(
        f"Chroma cannot filter metadata with the operator {item.operator.value!r} (key "
        f"{item.key!r}); it knows {', '.join(_SUPPORTED)}. To search in the text, pass "
        'where_document={"$contains": "..."} to the retriever.'
    )


def _combine(condition: str, parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {condition: parts}


def _scalar(item: MetadataFilter) -> str | int | float:
    if isinstance(item.value, str | int | float):
        return item.value
    raise _wrong_value(item, "a string or a number")


def _number(item: MetadataFilter) -> int | float:
    if isinstance(item.value, int | float):
        return item.value
    raise _wrong_value(item, "a number")


def _values(item: MetadataFilter) -> list[Any]:
    if isinstance(item.value, list) and item.value:
        return list(item.value)
    raise _wrong_value(item, "a list with at least one value")


def _wrong_value(item: MetadataFilter, allowed: str) -> ConfigError:
    return ConfigError(
        f"The filter {item.key!r} {item.operator.value} {item.value!r} cannot be used: Chroma "
        f"wants {allowed} after {item.operator.value!r}. Change the value or the operator."
    )
