"""What a query carries beside its text: arguments of its own, and filters on metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import UNSET, Unset

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


@dataclass
class InstructionQueryBundle(QueryBundle):
    """Query with arguments of its own, for one call of `InstructionTransformRetriever`.

    It can be passed wherever LlamaIndex takes a query. Query transforms such as HyDE make plain
    bundles and so lose the arguments; use `InstructionTransformRetriever.with_instruction` there.

    Usage:
        ```python
        from llama_index_instruct_embeddings import InstructionQueryBundle

        engine.query(InstructionQueryBundle("image viewer", instruction="What is it for?"))
        ```

        Where several users ask one retriever, each with what they may see:

        ```python
        from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

        own = MetadataFilters(filters=[MetadataFilter(key="team", value="support")])
        asked = InstructionQueryBundle("image viewer", filters=own, similarity_top_k=3)
        ```

    Attributes that are left out are those of the retriever.

    Attributes:
        instruction: The plain sentence to search under, or several with weights; `None` asks for
            the generic search.
        filters: Metadata filters, in place of the retriever's; `None` lifts them.
        similarity_top_k: Number of nodes wanted.
        where_document: Chroma's filter on texts; `None` lifts the retriever's.
        blend: Weight of the adapted score, from 0 (generic) to 1 (adapted).
        prefetch: Candidates that are rescored; `None` chooses.
        similarity_cutoff: Least score of a node; `None` shows all.
        mmr_threshold: Maximal marginal relevance, from 0 (different nodes) to 1 (scores alone).
        judge: Ask the judge of the retriever's `feedback`.
    """

    instruction: str | Mapping[str, float] | Unset | None = UNSET
    filters: MetadataFilters | Unset | None = UNSET
    similarity_top_k: int | Unset = UNSET
    where_document: dict[str, Any] | Unset | None = UNSET
    blend: float | Unset = UNSET
    prefetch: int | Unset | None = UNSET
    similarity_cutoff: float | Unset | None = UNSET
    mmr_threshold: float | Unset | None = UNSET
    judge: bool | Unset = UNSET

    def arguments(self) -> dict[str, Any]:
        """The arguments that it carries, by name."""
        own = {one.name for one in fields(self)} - {one.name for one in fields(QueryBundle)}
        return {name: getattr(self, name) for name in own}


def to_where(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Metadata filters, nested to any depth, as a Chroma `where`; `None` where nothing is filtered.

    `any` and `all` look for values in a list, as `contains`; others are a `ConfigError`.
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
