"""Metadata filters as a Chroma `where`."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings import to_where


def one(key: str, operator: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def every(*items: Any, condition: str | None = "and") -> MetadataFilters:
    return MetadataFilters(
        filters=list(items), condition=None if condition is None else FilterCondition(condition)
    )


@pytest.mark.parametrize(
    ("operator", "value", "where"),
    [
        ("==", "x", {"$eq": "x"}),
        ("!=", 3, {"$ne": 3}),
        (">", 3, {"$gt": 3}),
        (">=", 0.5, {"$gte": 0.5}),
        ("<", 3, {"$lt": 3}),
        ("<=", 3, {"$lte": 3}),
        ("in", ["x", "y"], {"$in": ["x", "y"]}),
        ("nin", [1, 2], {"$nin": [1, 2]}),
        ("contains", "x", {"$contains": "x"}),
    ],
)
def test_one_filter(operator: str, value: Any, where: dict[str, Any]) -> None:
    assert to_where(every(one("key", operator, value))) == {"key": where}


def test_nothing_to_filter() -> None:
    assert to_where(None) is None
    assert to_where(every()) is None
    assert to_where(every(every(), every())) is None


def test_groups_nest() -> None:
    filters = every(
        one("a", "==", 1),
        every(one("b", "==", 2), every(one("c", "==", 3)), condition="or"),
        every(),
        condition=None,
    )
    either = {"$or": [{"b": {"$eq": 2}}, {"c": {"$eq": 3}}]}
    assert to_where(filters) == {"$and": [{"a": {"$eq": 1}}, either]}


def test_any_and_all_look_into_a_list() -> None:
    x, y = {"key": {"$contains": "x"}}, {"key": {"$contains": "y"}}
    assert to_where(every(one("key", "any", ["x", "y"]))) == {"$or": [x, y]}
    assert to_where(every(one("key", "all", ["x", "y"]))) == {"$and": [x, y]}
    assert to_where(every(one("key", "all", ["x"]))) == x


@pytest.mark.parametrize("operator", ["text_match", "text_match_insensitive", "is_empty"])
def test_an_operator_that_chroma_lacks_is_an_error(operator: str) -> None:
    with pytest.raises(ConfigError, match=f"operator '{operator}' .*where_document"):
        to_where(every(one("key", operator, "x")))


def test_a_condition_that_chroma_lacks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="condition 'not'"):
        to_where(every(one("key", "==", "x"), condition="not"))


@pytest.mark.parametrize(
    ("operator", "value"), [("==", None), ("==", ["x"]), (">", "x"), ("in", "x"), ("any", [])]
)
def test_a_value_that_no_store_takes_is_an_error(operator: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"'key' {operator} .*needed is"):
        to_where(every(one("key", operator, value)))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (every(one("n", ">", 1)), ["b", "c"]),
        (every(one("n", "in", [1, 3])), ["a", "c"]),
        (every(one("n", "!=", 2), one("kind", "==", "x")), ["a"]),
        (every(one("n", "==", 1), one("n", ">=", 3), condition="or"), ["a", "c"]),
        (every(one("tags", "contains", "u")), ["a", "b"]),
        (every(one("tags", "any", ["u", "v"])), ["a", "b", "c"]),
        (every(one("tags", "all", ["u", "v"])), ["b"]),
    ],
)
def test_chroma_understands_it(
    collection: Callable[[], Any], filters: MetadataFilters, ids: list[str]
) -> None:
    rows = collection()
    rows.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.0]] * 3,
        metadatas=[
            {"n": 1, "kind": "x", "tags": ["u"]},
            {"n": 2, "kind": "x", "tags": ["u", "v"]},
            {"n": 3, "kind": "y", "tags": ["v"]},
        ],
    )
    assert rows.get(where=to_where(filters))["ids"] == ids


def test_a_mapping_is_a_filter_of_all_stores_already() -> None:
    assert to_where({"area": "billing"}) == {"area": "billing"}
    assert to_where({}) == {}


@pytest.mark.parametrize("filters", ["area", [("area", "billing")], 3])
def test_what_is_no_filter_is_told(filters: Any) -> None:
    with pytest.raises(ConfigError, match=r"filters=.* are no MetadataFilters\. Pass MetadataF"):
        to_where(filters)
