"""Read JSON out of what a model wrote: strictly, and within bounds."""

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

MAX_CHARACTERS = 200_000
MAX_DEPTH = 16
_MAX_DIGITS = 18
_SHOWN = 60

_THOUGHTS = re.compile(r"\A\s*<think>(?:.*?</think>|.*\Z)", re.DOTALL)
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"[{\[]")
# A whole string, a bracket, or a quote that opens a string without end.
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)


class ReplyError(ValueError):
    """A reply is not what was asked for; the message is told to the model for repair."""


def json_object(reply: str) -> dict[str, Any]:
    """The JSON object of a reply.

    Args:
        reply: JSON, bare or in a fenced block, with or without prose around it. The first object
            or array counts. Thoughts in `<think>` tags in front are skipped.

    Raises:
        ReplyError: There is none, it is an array, cut off, too long or too deep, has a key twice,
            or holds numbers or texts that JSON cannot carry to others.
    """
    value = _first_json(reply)
    if not isinstance(value, dict):
        raise ReplyError("The reply is a JSON array; a JSON object {...} is asked for.")
    return value


def json_array(reply: str) -> list[Any]:
    """The JSON array of a reply.

    Args:
        reply: As for `json_object`.

    Raises:
        ReplyError: As for `json_object`, or it is an object.
    """
    value = _first_json(reply)
    if not isinstance(value, list):
        raise ReplyError("The reply is a JSON object; a JSON array [...] is asked for.")
    return value


def _first_json(reply: str) -> Any:
    if len(reply) > MAX_CHARACTERS:
        raise ReplyError(
            f"The reply has {len(reply):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    text = _THOUGHTS.sub("", reply)
    fenced = _FENCED.search(text)
    text = fenced.group(1) if fenced else text
    wrong: ReplyError | None = None
    place = _OPENING.search(text)
    while place is not None:
        end = _end(text, place.start())
        try:
            return _decoded(text[place.start() : end])
        except ReplyError as exc:
            wrong = wrong or exc
        # Not from within: a part of a broken object is not what was meant.
        place = _OPENING.search(text, end)
    raise wrong or ReplyError(f"The reply holds no JSON; it starts with {text.strip()[:_SHOWN]!r}.")


def _end(text: str, start: int) -> int:
    """Where the bracket at `start` is closed."""
    depth = 0
    for mark in _MARKS.finditer(text, start):
        if mark.group() == '"':
            break
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark.group(), 0)
        if depth > MAX_DEPTH:
            raise ReplyError(f"The JSON of the reply is nested deeper than {MAX_DEPTH} levels.")
        if depth == 0:
            return mark.end()
    raise ReplyError("The JSON of the reply is cut off: a bracket or a quote is not closed.")


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
