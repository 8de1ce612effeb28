"""Read JSON out of a model's reply: strictly, within bounds, and not from its thoughts.

Models that think aloud write their thoughts in front of the answer, between marks of which servers
and templates often leave out the first. So the answer is what follows the last closing mark.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

MAX_CHARACTERS = 200_000
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
# Other brackets are prose, such as "[approximately" and "{see below".
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
        ReplyError: There is none that fits, it is an array, cut off or too long, has a key
            twice, or holds numbers or texts that JSON cannot carry to others.
    """
    text = without_thoughts(reply).rstrip()
    if len(text) > MAX_CHARACTERS:
        raise ReplyError(
            f"The reply has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    unfit: list[ReplyError] = []
    others: list[ReplyError] = []
    for value in reversed(list(_values(text))):
        if isinstance(value, ReplyError):
            others.append(value)
        elif not isinstance(value, dict):
            others.append(ReplyError("The reply is not a JSON object {...}, which is asked for."))
        else:
            try:
                return read(value)
            except ReplyError as exc:
                unfit.append(exc)
    # What is of the right kind was most likely meant.
    none = ReplyError(f"The reply holds no JSON; it starts with {text.strip()[:_SHOWN]!r}.")
    raise [*unfit, *others, none][0]


def _values(text: str) -> Iterator[Any]:
    """Objects and arrays amid prose, in order; an error for each that is broken.

    Within a broken one nothing is looked for. Where one is cut off nothing counts that stands
    before: it would have been the answer.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_no_key_twice)
    bracket = _NEXT.search(text)
    while bracket is not None and bracket["thoughts"] is None:
        start, end = bracket.span()
        try:
            value, end = decoder.raw_decode(text, start)
            # Infinite numbers and halves of surrogate pairs fail wherever the value is stored.
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            yield value
        except (ValueError, RecursionError) as exc:
            if _LIKE_JSON.match(text, start):
                closed = _end(text, start)
                if closed is None:
                    raise ReplyError(f"The JSON of the reply is cut off: {exc}.") from exc
                end = closed
                yield ReplyError(f"The reply is not valid JSON: {exc}.")
        bracket = _NEXT.search(text, end)


def _end(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed by one of whichever kind; None where it is not."""
    depth = 0
    for mark in _MARKS.finditer(text, start):
        if mark.group() == '"':
            break
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark.group(), 0)
        if depth == 0:
            return mark.end()
    return None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
