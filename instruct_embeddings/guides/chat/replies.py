"""Read JSON out of a model's reply: strictly, within bounds, and not from its thoughts.

Models that think aloud write their thoughts in front of the answer, between marks of which servers
and templates often leave out the first. So the answer is what follows the last closing mark.
"""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_CHARACTERS = 200_000
MAX_DEPTH = 16
_SHOWN = 60

# Families of marks, and models that write them:
#   <think> </think>                      DeepSeek R1, Qwen3, GLM, OLMo; others name it thinking,
#                                         thought, reasoning, seed:think, longcat_think
#   [THINK] [/THINK]                      Magistral
#   \u25c1think\u25b7 \u25c1/think\u25b7              Kimi
#   <|begin_of_thought|> <|end_of_thought|>, <|START_THINKING|> <|END_THINKING|>   Sky, Command A
#   <|channel|>analysis <|channel|>final  gpt-oss (Harmony)
#   <|channel>thought <channel|>          Gemma; <unused94> <unused95> MedGemma
#   <|inner_prefix|> <|inner_suffix|>     Apertus
#   <|im_start|>think <|im_start|>answer  s1
_NAME = (
    r"(?:ant|[\w.]{1,20}[:_-])?"
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis|rationale|"
    r"deliberation|contemplation|pondering|planning|(?:inner_?)?monologue|cot|"
    r"chain[_-]of[_-]thoughts?)(?:[_-](?:process|content|block|trace))?"
)
# Prose has words in square brackets too.
_IN_SQUARES = "(?:think(?:ing)?|thoughts?|reasoning)"
_LEFT = "(?:<[|\uff5c]?|\u25c1|&lt;)"
_RIGHT = "(?:[|\uff5c]?>|\u25b7|&gt;)"
_GAP = "[_\u2581 -]"
_ATTRIBUTES = r"(?:\s[^<>\[\]]{0,100})?"
# Channels that are meant for the user.
_FOR_USER = r"(?:final|response|answer|output)\b"

CLOSING = re.compile(
    rf"{_LEFT}(?:/|end{_GAP}?(?:of{_GAP})?){_NAME}{_ATTRIBUTES}{_RIGHT}"
    rf"|{_LEFT}{_NAME}{_GAP}(?:end|stop){_RIGHT}|\[/{_IN_SQUARES}\]"
    rf"|<\|channel\|?>\s{{0,9}}{_FOR_USER}"
    r"|<channel\|>|<unused95>|<\|inner_suffix\|>|<\|im_start\|>\s{0,9}answer\b",
    re.IGNORECASE,
)
OPENING = re.compile(
    rf"{_LEFT}(?:(?:start|begin){_GAP}(?:of{_GAP})?)?{_NAME}{_ATTRIBUTES}{_RIGHT}"
    rf"|\[{_IN_SQUARES}\]|<\|channel\|?>\s{{0,9}}(?!{_FOR_USER})\w"
    r"|<unused94>|<\|inner_prefix\|>|<\|im_start\|>\s{0,9}think",
    re.IGNORECASE,
)
# Marks that are plain words count only in a reply that begins with the first of them: Harmony whose
# special tokens a server dropped, and Granite.
_IN_WORDS = (
    (re.compile(r"\A\s*(?:analysis|commentary)(?=[A-Z\n])"), re.compile("assistantfinal")),
    (
        re.compile(r"\A\W{0,9}here(?:'s| is) my thought process\b", re.IGNORECASE),
        re.compile(r"here(?:'s| is) my (?:final )?response\b", re.IGNORECASE),
    ),
)

# A bracket, or the mark of thoughts that go on to the end.
_NEXT = re.compile(rf"(?P<thoughts>{OPENING.pattern})|[{{\[]", re.IGNORECASE)
# Other brackets are prose, such as "[approximately" and "{see below", and need not be closed.
_LIKE_JSON = re.compile(
    r"\{\s*(?:[\"'}]|\w+\s*:)|\[\s*(?:[\"'{}\[\]\d-]|true|false|null|NaN|Infinity)"
)
# A whole string, a bracket, or a quote that opens a string without end.
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)


class ReplyError(ValueError):
    """A reply is not of the form asked for; the message is sent to the model for repair."""


def without_thoughts(reply: str) -> str:
    """A reply from the end of the model's thoughts on; all of it where it shows none."""
    closed = [mark.end() for mark in CLOSING.finditer(reply)]
    for begin, end in _IN_WORDS:
        if begin.match(reply):
            closed += [mark.end() for mark in end.finditer(reply)]
            # There are only thoughts.
            closed = closed or [len(reply)]
    return reply[max(closed, default=0) :]


def json_object(reply: str, read: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """What is read from the JSON object of a reply, bare, in a fenced block or amid prose.

    `read` makes something of an object, or raises `ReplyError` where it does not fit: of several
    objects the last one that it takes counts. The thoughts of a model that thinks aloud do not.

    Raises:
        ReplyError: There is none that fits, it is an array, cut off, too long or too deep, has a
            key twice, or holds numbers or texts that JSON cannot carry to others.
    """
    return _last_of(dict, "object {...}", reply, read)


def json_array(reply: str, read: Callable[[list[Any]], Any] = list) -> Any:
    """What is read from the JSON array of a reply; as `json_object`."""
    return _last_of(list, "array [...]", reply, read)


def _last_of(kind: type, form: str, reply: str, read: Callable[[Any], Any]) -> Any:
    text = without_thoughts(reply)
    if len(text) > MAX_CHARACTERS:
        raise ReplyError(
            f"The reply has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    unfit: list[ReplyError] = []
    others: list[ReplyError] = []
    for span in reversed(_spans(text)):
        value = None
        try:
            value = _decoded(span)
            if isinstance(value, kind):
                return read(value)
            others.append(ReplyError(f"The reply is not a JSON {form}, which is asked for."))
        except ReplyError as exc:
            (others if value is None else unfit).append(exc)
    # What is of the right kind was most likely meant.
    none = ReplyError(f"The reply holds no JSON; it starts with {text.strip()[:_SHOWN]!r}.")
    raise [*unfit, *others, none][0]


def _spans(text: str) -> list[str]:
    """Texts between outermost brackets, in order; within a broken object nothing is looked for."""
    spans = []
    bracket = _NEXT.search(text)
    while bracket is not None and bracket["thoughts"] is None:
        start = bracket.start()
        end = _end(text, start)
        if end is not None:
            spans.append(text[start:end])
        elif _LIKE_JSON.match(text, start):
            raise ReplyError("The JSON of the reply is cut off: a bracket or quote is not closed.")
        bracket = _NEXT.search(text, end or start + 1)
    return spans


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
        value = json.loads(text, object_pairs_hook=_no_key_twice)
        # Infinite numbers and halves of surrogate pairs fail wherever the value is stored.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as exc:
        raise ReplyError(f"The reply is not valid JSON: {exc}.") from exc
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
