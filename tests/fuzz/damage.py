"""Real files and texts, damaged: bits, lengths, numbers, and the values of JSON."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

_NUMBERS = (0, 1, 2**31 - 1, 2**32, 2**62, 2**63, 2**64 - 1)
TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 400, b"null", b"true", b"{}", b"[]"),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"\x00",
        b"\xff",
        b"\n",
        b"\r",
        b",",
        b":",
        b"\xef\xbb\xbf",
    ),
    *(b"../../x", b"\x1b[2J", b"[" * 3000, b'{"a":' * 3000, b"x" * 5000, b"0," * 3000),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 7, 10**9, 10**18, 10**30, -(10**400), 0.5, -0.0, 1e300),
    *(float("nan"), float("inf"), "", " ", "x", "x" * 5000, "\ud800", "\x00", "\x1b[2J", "../../x"),
    *("1", "mean", [], [None], [[]], [1, 2, 3], ["x", "x"], {}, {"": 0}, {"a": {"b": [{}]}}),
)


@st.composite
def damaged(draw: DrawFn, *originals: bytes) -> bytes:
    """One of the originals after one to four changes."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(_CHANGES))
        place = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            # What tells the rest how to be read stands at the start.
            place = min(place, draw(st.integers(0, 400)))
        kind(draw, data, place)
    return bytes(data)


def _flip(draw: DrawFn, data: bytearray, place: int) -> None:
    if place < len(data):
        data[place] ^= 1 << draw(st.integers(0, 7))


def _cut(draw: DrawFn, data: bytearray, place: int) -> None:
    end = draw(st.sampled_from([len(data), place + 1, place + 8, place + 64]))
    del data[place:end]


def _insert(draw: DrawFn, data: bytearray, place: int) -> None:
    data[place:place] = draw(st.sampled_from(TOKENS) | st.binary(max_size=16))


def _overwrite(draw: DrawFn, data: bytearray, place: int) -> None:
    put = draw(st.sampled_from(TOKENS) | st.binary(max_size=16))
    data[place : place + len(put)] = put


def _number(draw: DrawFn, data: bytearray, place: int) -> None:
    """Where lengths and counts are written as eight bytes."""
    data[place : place + 8] = draw(st.sampled_from(_NUMBERS)).to_bytes(8, "little")


def _repeat(draw: DrawFn, data: bytearray, place: int) -> None:
    part = bytes(data[place : place + draw(st.integers(1, 200))])
    data[place:place] = part * draw(st.integers(1, 20))


_CHANGES = (_flip, _cut, _insert, _overwrite, _number, _repeat)


@st.composite
def changed(draw: DrawFn, original: Any) -> Any:
    """JSON data after one to three changes of values, keys or items."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        holders = list(_holders(value))
        if not holders:
            break
        holder = draw(st.sampled_from(holders))
        key = draw(
            st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder)))
        )
        kind = draw(st.sampled_from(["value", "value", "value", "remove", "rename"]))
        if kind == "value":
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x" * 200, "\ud800", "other"]))] = holder.pop(key)
    return value


def _holders(value: Any) -> Any:
    """All objects and lists of JSON data that hold something."""
    if isinstance(value, dict | list) and value:
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _holders(part)


def as_json(value: Any) -> bytes:
    """JSON in ASCII, halves of surrogate pairs included."""
    return json.dumps(value).encode()


@st.composite
def damaged_safetensors(draw: DrawFn, original: bytes) -> bytes:
    """A safetensors file, either as bytes or with a header that says something else."""
    if draw(st.booleans()):
        return draw(damaged(original))
    length = int.from_bytes(original[:8], "little")
    header = json.loads(original[8 : 8 + length])
    header = _with_metadata(draw, header) if draw(st.booleans()) else draw(changed(header))
    written = as_json(header)
    return len(written).to_bytes(8, "little") + written + original[8 + length :]


def _with_metadata(draw: DrawFn, header: Mapping[str, Any]) -> dict[str, Any]:
    """JSON inside of the header's texts is changed as JSON."""
    texts = dict(header.get("__metadata__", {}))
    for name, text in texts.items():
        try:
            texts[name] = json.dumps(draw(changed(json.loads(text))))
        except ValueError:
            continue
    return {**header, "__metadata__": texts}


def damaged_json(original: Any) -> SearchStrategy[bytes]:
    """A JSON document, damaged as bytes or as data."""
    return damaged(as_json(original)) | changed(original).map(as_json)
