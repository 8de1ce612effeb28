"""What a query carries beside its text: arguments of its own, and filters on metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llama_index.core.schema import QueryBundle, QueryType
from llama_index.core.vector_stores.types import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
)

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import UNSET, Instructions, Unset, check_arguments, suggesting

# By what stands after an operator: a string or a number, a number, a list; and lists that become
# several clauses.
_TEXT = {"==": "$eq", "!=": "$ne", "contains": "$contains"}
_NUMBER = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_LIST = {"in": "$in", "nin": "$nin"}
_EXPANDED = {"any": "$or", "all": "$and"}


@suggesting
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
        instruction: The plain sentence to search under, one with examples (`Instruction`), or
            several with weights; `None` asks for the generic search.
        filters: Metadata filters, in place of the retriever's; `None` lifts them.
        similarity_top_k: Number of nodes wanted.
        where_document: Filter on texts; `None` lifts the retriever's.
        blend: Weight of the adapted score, from 0 (generic) to 1 (adapted).
        prefetch: Candidates that are rescored; `None` chooses.
        similarity_cutoff: Least score of a node; `None` shows all.
        mmr_threshold: Maximal marginal relevance, from 0 (different nodes) to 1 (scores alone).
        judge: Ask the judge of the retriever's `feedback`.
    """

    instruction: Instructions | Unset | None = UNSET
    filters: MetadataFilters | Mapping[str, Any] | Unset | None = UNSET
    similarity_top_k: int | Unset = UNSET
    where_document: dict[str, Any] | Unset | None = UNSET
    blend: float | Unset = UNSET
    prefetch: int | Unset | None = UNSET
    similarity_cutoff: float | Unset | None = UNSET
    mmr_threshold: float | Unset | None = UNSET
    judge: bool | Unset = UNSET

    @classmethod
    def names(cls) -> list[str]:
        """Names of the arguments that it can carry."""
        plain = {one.name for one in fields(QueryBundle)}
        return [one.name for one in fields(cls) if one.name not in plain]

    def arguments(self) -> dict[str, Any]:
        """The arguments that it carries, by name."""
        return {name: getattr(self, name) for name in self.names()}


def with_arguments(query: QueryType, given: Mapping[str, Any]) -> QueryType:
    """A query that carries these arguments, too; one without any as it is."""
    check_arguments("retrieve", given, InstructionQueryBundle.names())
    if not given:
        return query
    if isinstance(query, QueryBundle):
        own = {one.name: getattr(query, one.name) for one in fields(query)}
        return InstructionQueryBundle(**{**own, **given})
    return InstructionQueryBundle(query, **given)


def to_where(filters: MetadataFilters | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metadata filters, nested to any depth, as a `where`; `None` where nothing is filtered.

    A mapping is one already, such as `{"$native": ...}` with a filter of the store itself. `any`
    and `all` look for values in a list, as `contains`; others are a `ConfigError`.
    """
    if filters is None:
        return None
    if isinstance(filters, Mapping):
        return dict(filters)
    if not isinstance(filters, MetadataFilters):
        raise ConfigError(
            f"filters={filters!r} are no MetadataFilters. Pass "
            'MetadataFilters(filters=[MetadataFilter(key="area", value="billing")]), or None.'
        )
    condition = (filters.condition or FilterCondition.AND).value
    if condition not in ("and", "or"):
        raise ConfigError(
            f"There is no filter condition {condition!r} here; known are 'and' and 'or'. "
            "Write the opposite operators instead, such as != for ==."
        )
    clauses = [
        to_where(item) if isinstance(item, MetadataFilters) else _clause(item)
        for item in filters.filters
    ]
    return _combine(f"${condition}", [clause for clause in clauses if clause is not None])


def _combine(condition: str, clauses: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {condition: clauses} if len(clauses) > 1 else next(iter(clauses), None)


def _clause(item: MetadataFilter) -> dict[str, Any] | None:
    operator, value = item.operator.value, item.value
    known = _TEXT | _NUMBER | _LIST | _EXPANDED
    if operator not in known:
        raise ConfigError(
            f"There is no filter operator {operator!r} here (key {item.key!r}); known are "
            f"{', '.join(sorted(known))}. To search in the text, pass "
            'where_document={"$contains": "..."} to the retriever.'
        )
    if operator in _LIST or operator in _EXPANDED:
        good, allowed = isinstance(value, list) and bool(value), "a list with at least one value"
    elif operator in _TEXT:
        good, allowed = isinstance(value, str | int | float), "a string or a number"
    else:
        good, allowed = isinstance(value, int | float), "a number"
    if not good:
        raise ConfigError(
            f"The filter {item.key!r} {operator} {value!r} cannot be used: needed is {allowed} "
            f"after {operator!r}. Change the value or the operator."
        )
    if isinstance(value, list) and operator in _EXPANDED:
        return _combine(known[operator], [{item.key: {"$contains": one}} for one in value])
    return {item.key: {known[operator]: value}}
