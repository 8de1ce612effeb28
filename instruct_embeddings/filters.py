"""What a row has to pass, in one language for all stores: that of Chroma's filters.

```
{"area": "billing"}                      the same as {"area": {"$eq": "billing"}}
{"year": {"$gte": 2020, "$lt": 2025}}    all of them
{"$or": [{"area": "billing"}, {"tags": {"$contains": "urgent"}}]}
{"$native": ...}                         a filter of the store itself, also inside $and and $or
{"$contains": "refund"}                  of texts, with $not_contains, $and and $or
```

A row that lacks a key passes `$ne`, `$nin` and `$not_contains` of it and nothing else; a row
without a text has an empty one. A store folds the parsed filter into its own by `translate_filter`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from instruct_embeddings._reading import is_number
from instruct_embeddings._types import Where
from instruct_embeddings.config import check_filter
from instruct_embeddings.errors import ConfigError

ORDER = ("$gt", "$gte", "$lt", "$lte")
TEXTS = ("$contains", "$not_contains")
KEYS = ("$eq", "$ne", *ORDER, "$in", "$nin", *TEXTS)
NEGATED = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
_JOINED = ("$and", "$or")
_NATIVE = "$native"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        key: Key of the metadata.
        operator: One of `KEYS`; of a text one of `TEXTS`.
        value: A text, a finite number, True or False; a tuple of these for `$in` and `$nin`.
        of_text: Whether it is of the text, which has no key.
    """

    key: str
    operator: str
    value: Any
    of_text: bool = False


@dataclass(frozen=True)
class Joined:
    """One or more conditions, of which all must hold, or any."""

    all: bool
    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Native:
    """A filter in the words of the store."""

    value: Any


Condition: TypeAlias = Comparison | Joined | Native


def parse_where(where: Where | None) -> Condition | None:
    """A filter on metadata; None where it lets everything pass.

    Raises:
        ConfigError: It is malformed.
    """
    check_filter("where", where)
    return _metadata(where) if where else None


def parse_where_document(where: Where | None) -> Condition | None:
    """A filter on texts; None where it lets everything pass.

    Raises:
        ConfigError: It is malformed.
    """
    check_filter("where_document", where)
    return _text(where) if where else None


def translate_filter(
    condition: Condition,
    *,
    test: Callable[[Comparison], _T],
    join: Callable[[bool, list[_T]], _T],
    native: Callable[[Any], _T],
) -> _T:
    """A condition in the words of a store.

    Args:
        condition: What was parsed.
        test: Makes one comparison.
        join: Joins one or more, of which all must hold, or any.
        native: Takes a filter of the store itself.
    """
    if isinstance(condition, Comparison):
        return test(condition)
    if isinstance(condition, Native):
        return native(condition.value)
    parts = [
        translate_filter(part, test=test, join=join, native=native) for part in condition.parts
    ]
    return join(condition.all, parts)


def _metadata(where: Where) -> Condition:
    parts: list[Condition] = []
    for key, want in where.items():
        if key in _JOINED:
            parts.append(_several(key, want, _metadata))
        elif key == _NATIVE:
            parts.append(Native(want))
        elif not isinstance(key, str) or key.startswith("$"):
            raise _unknown(key, (*_JOINED, _NATIVE))
        else:
            tests = want if isinstance(want, Mapping) else {"$eq": want}
            if not tests:
                raise ConfigError(f"The filter on {key!r} is empty. Use one of {', '.join(KEYS)}.")
            parts += [_test(key, operator, value) for operator, value in tests.items()]
    return _all(parts)


def _test(key: str, operator: str, value: Any) -> Comparison:
    if operator not in KEYS:
        raise _unknown(operator, KEYS)
    if operator in ORDER and not is_number(value):
        raise ConfigError(
            f"{operator} on {key!r} compares numbers, got {value!r:.60}. Pass a number."
        )
    if operator in ("$in", "$nin"):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{operator} on {key!r} takes a list, got {value!r:.60}.")
        return Comparison(key, operator, tuple(map(_value, value)))
    return Comparison(key, operator, _value(value))


def _text(where: Where) -> Condition:
    parts: list[Condition] = []
    for operator, want in where.items():
        if operator in _JOINED:
            parts.append(_several(operator, want, _text))
            continue
        if operator not in TEXTS:
            raise _unknown(operator, (*TEXTS, *_JOINED))
        if not isinstance(want, str):
            raise ConfigError(f"{operator} on texts takes a text, got {want!r:.60}.")
        parts.append(Comparison("", operator, want, of_text=True))
    return _all(parts)


def _several(operator: str, inner: Any, parse: Callable[[Where], Condition]) -> Condition:
    good = isinstance(inner, Sequence) and inner and all(isinstance(one, Mapping) for one in inner)
    if not good:
        raise ConfigError(f"{operator} takes a list of filters, got {inner!r:.60}.")
    if not all(inner):
        raise ConfigError(
            f"{operator} holds an empty filter, which every row passes: {inner!r:.60}. "
            "Leave it out."
        )
    return Joined(operator == "$and", tuple(map(parse, inner)))


def _all(parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Joined(True, tuple(parts))


def _value(value: Any) -> Any:
    if not isinstance(value, str | bool) and not is_number(value):
        raise ConfigError(
            f"A filter compares with {value!r:.60}. Allowed are texts, finite numbers, True and "
            "False. Pass one of these."
        )
    return value


def _unknown(operator: object, known: tuple[str, ...]) -> ConfigError:
    return ConfigError(f"Unknown filter operator {operator!r:.60}; known are {sorted(known)}.")
