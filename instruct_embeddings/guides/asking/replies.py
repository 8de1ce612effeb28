"""Read JSON out of what a model wrote: strictly, and within bounds."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, overload

from instruct_embeddings.guides.asking.thoughts import OPENING, spoken

MAX_CHARACTERS = 200_000
MAX_DEPTH = 16
_MAX_DIGITS = 18
_SHOWN = 60

T = TypeVar("T")

# A bracket, or the mark of thoughts that go on to the end.
_NEXT = re.compile(rf"(?P<thoughts>{OPENING.pattern})|[{{\[]", re.IGNORECASE)
# Other brackets are prose, such as "[approximately" and "{see below", and need not be closed.
_LIKE_JSON = re.compile(
    r"\{\s*(?:[\"'}]|\w+\s*:)|\[\s*(?:[\"'{}\[\]\d-]|true|false|null|NaN|Infinity)"
)
# A whole string, a bracket, or a quote that opens a string without end.
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)


class ReplyError(ValueError):
    """A reply is not what was asked for; the message is told to the model for repair."""


@overload
def json_object(reply: str) -> dict[str, Any]: ...
@overload
def json_object(reply: str, read: Callable[[dict[str, Any]], T]) -> T: ...
def json_object(reply: str, read: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The JSON object of a reply, or what is read from it.

    Args:
        reply: JSON, bare or in a fenced block, with or without prose around it. The thoughts of a
            model that thinks aloud do not count (see `spoken`). Of several objects the last one
            that `read` takes counts.
        read: Makes something of an object; raises `ReplyError` where it does not fit.

    Raises:
        ReplyError: There is none that fits, it is an array, cut off, too long or too deep, has a
            key twice, or holds numbers or texts that JSON cannot carry to others.
    """
    return _last_of(dict, reply, read, "is a JSON array; a JSON object {...} is asked for.")


@overload
def json_array(reply: str) -> list[Any]: ...
@overload
def json_array(reply: str, read: Callable[[list[Any]], T]) -> T: ...
def json_array(reply: str, read: Callable[[list[Any]], Any] | None = None) -> Any:
    """The JSON array of a reply, or what is read from it.

    Args:
        reply: As for `json_object`.
        read: As for `json_object`.

    Raises:
        ReplyError: As for `json_object`, or it is an object.
    """
    return _last_of(list, reply, read, "is a JSON object; a JSON array [...] is asked for.")


def _last_of(kind: type, reply: str, read: Callable[[Any], Any] | None, other: str) -> Any:
    text = spoken(reply)
    if len(text) > MAX_CHARACTERS:
        raise ReplyError(
            f"The reply has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    unfit: ReplyError | None = None
    wrong: ReplyError | None = None
    for part in reversed(_parts(text)):
        try:
            value = _decoded(part)
            if not isinstance(value, kind):
                raise ReplyError(f"The reply {other}")
        except ReplyError as exc:
            wrong = wrong or exc
            continue
        try:
            return value if read is None else read(value)
        except ReplyError as exc:
            unfit = unfit or exc
    # What is of the right kind was most likely meant.
    raise (
        unfit
        or wrong
        or ReplyError(f"The reply holds no JSON; it starts with {text.strip()[:_SHOWN]!r}.")
    )


def _parts(text: str) -> list[str]:
    """What stands between brackets, the outermost ones, in order.

    Not from within: a part of a broken object is not what was meant.
    """
    parts = []
    place = _NEXT.search(text)
    while place is not None and place["thoughts"] is None:
        start = place.start()
        end = _end(text, start)
        if end is not None:
            parts.append(text[start:end])
        elif _LIKE_JSON.match(text, start):
            raise ReplyError("The JSON of the reply is cut off: a bracket or quote is not closed.")
        place = _NEXT.search(text, end or start + 1)
    return parts


def _end(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed; None where it is not."""
    depth = 0
    for mark in _MARKS.finditer(text, start):
        if mark.group() == '"':
            break
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark.group(), 0)
        if depth > MAX_DEPTH:
            raise ReplyError(f"The JSON of the reply is nested deeper than {MAX_DEPTH} levels.")
        if depth == 0:
            return mark.end()
    return None


def _decoded(text: str) -> Any:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_key_twice,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_short,
        )
        # Half of a surrogate pair passes json, and fails wherever the text is stored.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as exc:
        raise ReplyError(
            f"The reply is not valid JSON: {exc.msg} at {text[exc.pos : exc.pos + _SHOWN]!r}."
        ) from exc
    except UnicodeEncodeError as exc:
        raise ReplyError("The JSON of the reply holds half of a surrogate pair.") from exc
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ReplyError(f"The key {twice[:_SHOWN]!r} stands twice in the JSON of the reply.")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ReplyError(f"The reply holds {constant}, which is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ReplyError(f"The number {text[:_SHOWN]} of the reply is too large.")
    return number


def _short(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ReplyError(f"The number {text[:_SHOWN]} of the reply is too large.")
    return int(text)
