"""Files that others may have written, read within bounds.

Sizes are looked at before anything is allocated, and whatever is wrong is an `OSError` or a
`ValueError`, which readers turn into errors that name the file.
"""

import errno
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from math import isfinite
from numbers import Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

LONGEST_LINE = 8 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_HEADER_BYTES = 16 * 1024 * 1024
_SHOWN = 200
# Opening a pipe would wait for somebody to write to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class TooLargeError(ValueError):
    """A file is larger than any that is meant."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"it has {size:,} bytes; at most {limit:,} are read")
        self.size = size


def read_limited(file: Path, limit: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        TooLargeError: It has more than `limit`; none of them was read.
        OSError: It cannot be read, or it is a folder, a pipe or a device.
    """
    handle = os.open(file, _FLAGS)
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "It is a pipe or a device, not a file", str(file))
        if state.st_size > limit:
            raise TooLargeError(state.st_size, limit)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            # Not one byte more, though the file may grow meanwhile.
            return stream.read(state.st_size)
    finally:
        os.close(handle)


def parse_json(
    text: str | bytes,
    *,
    halves: bool = False,
    parse_constant: Callable[[str], object] | None = None,
) -> Any:
    """What JSON says; `parse_constant` is called for NaN and the infinities, which are no JSON.

    Raises:
        ValueError: It is no JSON in UTF-8, is nested too deeply, holds more than a million values,
            or, unless `halves` may pass, half of a surrogate pair, which nobody could store.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    # A value of two characters becomes an object of some dozens of bytes.
    if sum(map(text.count, ",:[{")) > MAX_VALUES:
        raise ValueError(f"the JSON holds more than {MAX_VALUES:,} values")
    try:
        found = json.loads(text, parse_constant=parse_constant)
        if not halves and "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as exc:
        raise ValueError("the JSON is nested too deeply") from exc
    return found


def read_plain(kind: Any, data: Any) -> Any:
    """A value of a type from plain data, as `dataclasses.asdict` and JSON leave it.

    The type is a dataclass, str, bool, int, float, a literal, a tuple or mapping of such, or one of
    them `| None`. Values of properties of a dataclass may be among its fields: they are left out.

    Raises:
        TypeError, ValueError, KeyError, AttributeError, OverflowError: It is of another type, or a
            number is not finite.
    """
    args = get_args(kind)
    origin: Any = get_origin(kind) or kind
    if is_dataclass(origin):
        hints = get_type_hints(kind)
        given = {name: value for name, value in data.items() if not _is_property(kind, name)}
        return kind(**{name: read_plain(hints[name], value) for name, value in given.items()})
    if origin in (Union, UnionType):
        [inner] = [one for one in args if one is not type(None)]
        return None if data is None else read_plain(inner, data)
    if origin is tuple:
        kinds = [args[0]] * len(data) if args[-1] is ... else args
        return tuple(read_plain(one, value) for one, value in zip(kinds, data, strict=True))
    if origin is Mapping:
        return {read_plain(args[0], key): read_plain(args[1], value) for key, value in data.items()}
    if origin is Literal:
        fits = data in args
    elif origin in (int, float):
        fits = isinstance(data, (int, origin)) and is_number(data)
    else:
        fits = isinstance(data, origin)
    if not fits:
        raise ValueError(f"{shown(data)} is not a valid {getattr(kind, '__name__', kind)}")
    return data


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number that a float can hold; True and False are none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(float(value))
    except OverflowError:
        return False


def _is_property(kind: Any, name: str) -> bool:
    return isinstance(getattr(kind, name, None), property)


def safetensors_header(data: bytes) -> Any:
    """The JSON at the start of a safetensors file; no tensor is read.

    Raises:
        ValueError: It is longer than any that is meant, or no JSON.
    """
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
    return parse_json(data[8 : 8 + length])


def brief(error: BaseException) -> str:
    """The class and the start of the message of an error that may quote what was read."""
    return f"{type(error).__name__}: {cut(' '.join(str(error).split()).rstrip('.'))}"


def shown(value: object) -> str:
    """What was read, as a message quotes it: whole where it is short, or its start."""
    return cut(repr(value))


def cut(text: str) -> str:
    """A text that a message quotes: whole where it is short, or its start."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
