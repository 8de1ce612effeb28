"""Nested records as the flat metadata that Chroma stores."""

import json
from collections.abc import Mapping
from typing import TypeAlias

SEPARATOR = "|"
Scalar: TypeAlias = str | int | float | bool
_LARGEST = 2**63


def flatten(record: Mapping[str, object], prefix: str = "") -> dict[str, Scalar]:
    """Dots for nested objects, `|` between the values of a list; missing values are left out.

    Args:
        record: A decoded JSON object.
        prefix: Written in front of every key.

    Returns:
        Metadata such as `{"tags.interface": "graphical|x11"}`.

    Raises:
        ValueError: A key or a value cannot be stored.
    """
    flat: dict[str, Scalar] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif value is not None and value != []:
            flat[_checked(f"{prefix}{key}")] = _scalar(key, value)
    return flat


def _checked(key: str) -> str:
    if not key or key[0] in "#$" or key == "chroma:document":
        raise ValueError(f"the key {key!r:.60} is empty or reserved by Chroma; rename it")
    return key


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, list):
        return SEPARATOR.join(_part(item) for item in value)
    if isinstance(value, bool | str):
        return value
    # No comparison with NaN holds.
    if isinstance(value, int | float) and abs(value) < _LARGEST:
        return value
    raise ValueError(f"the value {value!r:.60} of {key!r:.60} cannot be stored as metadata")


def _part(item: object) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
