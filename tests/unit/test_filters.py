"""The filter language that all stores share."""

from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.filters import (
    Comparison,
    Joined,
    Native,
    parse_where,
    parse_where_document,
    translate_filter,
)

RED = Comparison("colour", "$eq", "red")


def words(where: dict[str, Any]) -> str:
    """A filter as a store would write it."""
    condition = parse_where(where)
    assert condition is not None
    return translate_filter(
        condition,
        test=lambda one: f"{one.key} {one.operator} {one.value}",
        join=lambda every, parts: f"({(' and ' if every else ' or ').join(parts)})",
        native=str,
    )


def test_what_is_parsed() -> None:
    assert parse_where({"colour": "red"}) == parse_where({"colour": {"$eq": "red"}}) == RED
    assert parse_where({"n": {"$in": [1, 2]}}) == Comparison("n", "$in", (1, 2))
    assert parse_where({"$native": "n < 3"}) == Native("n < 3")
    several = Joined(True, (RED, Comparison("n", "$gt", 1), Comparison("n", "$lt", 5)))
    assert parse_where({"colour": "red", "n": {"$gt": 1, "$lt": 5}}) == several
    assert parse_where_document({"$contains": "odd"}) == Comparison(
        "", "$contains", "odd", of_text=True
    )


@pytest.mark.parametrize("parse", [parse_where, parse_where_document])
def test_nothing_asked_is_none(parse: Any) -> None:
    assert parse(None) is parse({}) is None


def test_conditions_are_folded_into_the_words_of_a_store() -> None:
    inner = {"$or": [{"n": {"$gt": 4}}, {"$native": "n = 1"}]}
    assert words({"$and": [{"colour": "red"}, inner]}) == "(colour $eq red and (n $gt 4 or n = 1))"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"n": {"$near": 1}}, r"Unknown filter operator '\$near'"),
        ({"$not": []}, r"Unknown filter operator '\$not'"),
        ({3: 1}, "Unknown filter operator 3"),
        ({"n": {}}, "The filter on 'n' is empty"),
        ({"n": {"$gt": "1"}}, "compares numbers, got '1'"),
        ({"n": {"$gt": True}}, "compares numbers, got True"),
        ({"n": {"$in": "red"}}, "takes a list, got 'red'"),
        ({"n": None}, "compares with None"),
        ({"n": float("nan")}, "compares with nan"),
        ({"n": {"$in": [[1]]}}, r"compares with \[1\]"),
        ({"$and": []}, "takes a list of filters"),
        ({"$or": [1]}, "takes a list of filters"),
        ({"$or": [{}, {"n": 1}]}, "holds an empty filter"),
        ("red", "where must be a mapping"),
    ],
)
def test_malformed_filters_are_named(where: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_where(where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"$eq": "odd"}, r"Unknown filter operator '\$eq'"),
        ({"$contains": 3}, "takes a text, got 3"),
        (["odd"], "where_document must be a mapping"),
    ],
)
def test_malformed_filters_of_texts_are_named(where: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_where_document(where)
