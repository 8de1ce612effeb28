"""Filters on metadata and texts as expressions of Milvus."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

from instruct_embeddings.adapters import Asked
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.filters import NEGATED, Comparison, translate_filter
from milvus_instruct_embeddings.collection import DYNAMIC, Collection

_SIGNS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_WILD = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})
_BITS = 63  # of a whole number, beside its sign


class Expressions:
    """Makes expressions for one collection."""

    def __init__(self, collection: Collection) -> None:
        self._of = collection
        self.nothing = f"{collection.key} in []"
        self.everything = f"not ({self.nothing})"

    def passing(self, asked: Asked) -> str:
        """What a row passes; empty where there is no filter.

        Raises:
            ConfigError: A filter cannot be obeyed.
        """
        parts = [
            translate_filter(condition, test=self._test, join=_joined, native=_native)
            for condition in (asked.where, asked.where_document)
            if condition is not None
        ]
        return _joined(True, parts)

    def ids(self, ids: Sequence[str]) -> str:
        """One of some ids; those that cannot be ids are left out."""
        if self._of.numbered:
            return f"{self._of.key} in [{', '.join(row for row in ids if _is_whole(row))}]"
        return f"{self._of.key} in [{', '.join(map(_quoted, ids))}]"

    def from_key(self, row: str) -> str:
        """An id that is this one or comes after it."""
        return f"{self._of.key} >= {row if self._of.numbered else _quoted(row)}"

    def _test(self, test: Comparison) -> str:
        if test.of_text:
            return self._text(test)
        scalar = self._of.scalars.get(test.key)
        if self._of.metadata is not None or scalar is None:
            return self._in_json(test)
        positive = self._in_field(test, scalar.type)
        return (
            _negated(positive, test.key, scalar.nullable) if test.operator in NEGATED else positive
        )

    def _in_json(self, test: Comparison) -> str:
        """A key of a JSON field, or of the dynamic fields; no row passes one that is not there."""
        inside = self._of.metadata or DYNAMIC
        if self._of.metadata is None and not self._of.dynamic:
            return self.everything if test.operator in NEGATED else self.nothing
        place = f"{inside}[{_quoted(test.key)}]"
        positive = NEGATED.get(test.operator, test.operator)
        if positive in _SIGNS:
            return f"({place} {_SIGNS[positive]} {_literal(test.value)})"
        if positive == "$contains":
            return self._contains(place, test)
        values = test.value if positive == "$in" else (test.value,)
        if test.operator in NEGATED:
            differs = _joined(True, [f"{place} != {_literal(one)}" for one in values] or [])
            return f"((not (exists {place})) or {differs})" if values else self.everything
        return _joined(False, [f"{place} == {_literal(one)}" for one in values]) or self.nothing

    def _contains(self, place: str, test: Comparison) -> str:
        if self._of.milvus.lite and self._of.metadata is None:
            raise ConfigError(
                f"{test.operator} on {test.key!r} cannot be obeyed: Milvus Lite looks into lists "
                "of a JSON field or an ARRAY, not of the dynamic fields. Store them so, or use a "
                "server."
            )
        holds = f"json_contains({place}, {_literal(test.value)})"
        return f"(not ({holds}))" if test.operator in NEGATED else f"({holds})"

    def _in_field(self, test: Comparison, kind: str) -> str:
        """A field with a type: Milvus refuses to compare it with a value of another."""
        operator = NEGATED.get(test.operator, test.operator)
        if operator == "$contains":
            holds = kind == "ARRAY"
            return f"array_contains({test.key}, {_literal(test.value)})" if holds else self.nothing
        if operator in _SIGNS:
            return _ordered(test.key, operator, test.value, kind) or self.nothing
        values = test.value if operator == "$in" else (test.value,)
        fitting = [one for one in (_fitting(value, kind) for value in values) if one is not None]
        return f"{test.key} in [{', '.join(fitting)}]" if fitting else self.nothing

    def _text(self, test: Comparison) -> str:
        name = self._of.text
        if name is None:
            raise ConfigError(
                "where_document cannot be obeyed: the collection was opened with text_field=None. "
                "A filter needs that field. Name it, or search without where_document."
            )
        if not self._of.milvus.finds_texts:
            version = ".".join(map(str, self._of.milvus.version))
            raise ConfigError(
                f"where_document cannot be obeyed: this is Milvus {version}, and finding a text "
                "within a text needs 2.4. Update the server, or search without where_document."
            )
        scalar = self._of.scalars.get(name)
        place = name if scalar else f"{DYNAMIC}[{_quoted(name)}]"
        holds = f"{place} like {_quoted('%' + test.value.translate(_WILD) + '%')}"
        if not test.value:
            return self.everything if test.operator == "$contains" else self.nothing
        if test.operator == "$contains":
            return f"({holds})"
        if scalar:
            return _negated(holds, name, scalar.nullable)
        return f"((not (exists {place})) or not ({holds}))"


def _joined(all_of: bool, parts: Sequence[str]) -> str:
    return f"({(' and ' if all_of else ' or ').join(parts)})" if parts else ""


def _negated(holds: str, name: str, nullable: bool) -> str:
    # What is null neither passes a test nor its opposite.
    return f"({name} is null or not ({holds}))" if nullable else f"(not ({holds}))"


def _native(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(
            f"$native={value!r:.60} is no filter of Milvus. Allowed is an expression such as "
            "'year > 2020 and area in [\"billing\"]'. Pass a text."
        )
    return f"({value})"


def _ordered(name: str, operator: str, value: float, kind: str) -> str:
    if kind.startswith("INT"):
        value = floor(value) if operator in ("$gt", "$lte") else ceil(value)
        if not _stored(value, kind):
            below = (value > 0) == (operator in ("$lt", "$lte"))
            return f"({name} >= {1 - (1 << (int(kind[3:]) - 1))})" if below else ""
    elif kind not in ("FLOAT", "DOUBLE"):
        return ""
    return f"({name} {_SIGNS[operator]} {_literal(value)})"


def _stored(value: float, kind: str) -> bool:
    return abs(value) < 1 << (int(kind[3:]) - 1)


def _fitting(value: Any, kind: str) -> str | None:
    """A value as a literal of a type; None where no value of that type equals it."""
    if isinstance(value, bool) or kind == "BOOL":
        return _literal(value) if isinstance(value, bool) and kind == "BOOL" else None
    if isinstance(value, str):
        return _literal(value) if kind == "VARCHAR" else None
    if kind.startswith("INT"):
        return str(int(value)) if float(value).is_integer() and _stored(value, kind) else None
    return _literal(float(value)) if kind in ("FLOAT", "DOUBLE") else None


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int) and abs(value) >= 2**_BITS and not isinstance(value, bool):
        value = float(value)
    return str(value).lower()  # True, False, 1e-07


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _is_whole(row: str) -> bool:
    try:
        return str(int(row)) == row and abs(int(row)) < 2**_BITS
    except ValueError:
        return False
