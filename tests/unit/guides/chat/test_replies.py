import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.guides.chat import ReplyError, json_object
from instruct_embeddings.guides.chat.replies import MAX_CHARACTERS


@pytest.mark.parametrize(
    "reply",
    [
        '{"a": [1, "x]}"]}',
        ' \n{"a": [1, "x]}"]}\n',
        'First {"b": 2}, no: {"a": [1, "x]}"]} I hope it helps.',
        '```json\n{"a": [1, "x]}"]}\n```',
        'I weighed [1] and [2].\n```\n{"b": 2}\n```\nOr:\n```\n{"a": [1, "x]}"]}\n```',
        '[see "note {1}"]\n```\n{"a": [1, "x]}"]}\n```\n(or so [roughly',
        '   ```JSON\n  {"a": [1, "x]}"]}\n   ```',
        '```json\n{"a": [1, "x]}"]}',  # no closing fence
        'For [some text] and {others}: {"a": [1, "x]}"]}',
        '<think>{"b": 2} or [3]?</think>\n{"a": [1, "x]}"]}',
    ],
)
def test_the_last_object_of_a_reply_is_read(reply: str) -> None:
    assert json_object(reply) == {"a": [1, "x]}"]}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "holds no JSON; it starts with ''"),
        ("I'm sorry, I cannot help.", "no JSON; it starts with \"I'm sorry, I cannot"),
        ("[1]", "is not a JSON object"),
        ('{"a": [{"b": 1}, {"b":', "cut off"),
        ('{"a": "x', "cut off"),
        ('<think>Is it {"a": 1}? Or', "no JSON"),
        ('{"a": 1} or better {"a": 2, "b', "cut off"),
        ('Well, {a: and {"a": 1}', "cut off"),
        ('{"a": 1} or better {"a": nul', "cut off"),
        ("{'a': [1]}", "not valid JSON"),
        ('{"a": 1,}', "not valid JSON"),
        ('{"a": 1]', "not valid JSON"),
        ('{"a": [1}]', "not valid JSON"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        ('{"a": NaN}', "Out of range float"),
        ('{"a": -Infinity}', "Out of range float"),
        ('{"a": 1e999}', "Out of range float"),
        (f'{{"a": {"9" * 5000}}}', "Exceeds the limit"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        ('{"a": "a\nb"}', "not valid JSON"),
        ("[" * 150_000, "recursion depth"),
        ('{"' * 90_000, "Expecting ':' delimiter"),
        ("[" + "1" * MAX_CHARACTERS, "has 200,001 characters; at most 200,000"),
    ],
)
def test_what_is_not_asked_for_is_refused_and_told_why(reply: str, why: str) -> None:
    with pytest.raises(ReplyError, match=r"\A(The|A) ") as caught:
        json_object(reply)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 250


def even(found: dict[str, Any]) -> int:
    number = found.get("a")
    if not isinstance(number, int) or number % 2:
        raise ReplyError(f"{number!r} is not even.")
    return number


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 2}, or {"a": 4}', 4),
        ('{"a": 4}. I did not take {"a": 5}, as {"form": "even"} and [6] say.', 4),
        ('{"a": 8}\n{broken: json}', 8),
        ('{"a": 2}, or as {broken: json}, no: {"a": 8}', 8),
        ('The set {x: x is even} has {"a": 8}', 8),
        ('```json\n{"a": 2}\n```\nWait. I meant:\n{"a": 6}', 6),
    ],
)
def test_of_several_objects_the_last_that_fits_is_read(reply: str, value: int) -> None:
    assert json_object(reply, even) == value


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ('{"a": 1} {"a": 3}', "3 is not even"),
        ('{"a": 3}, as [1] says', "3 is not even"),
        ('[1] {"a": 1', "cut off"),
    ],
)
def test_the_last_object_that_does_not_fit_is_told(reply: str, why: str) -> None:
    with pytest.raises(ReplyError, match=why):
        json_object(reply, even)


def test_parts_of_a_broken_object_are_not_taken_for_the_whole() -> None:
    with pytest.raises(ReplyError, match="not valid JSON"):
        json_object("{'items': {\"a\": 1}}")


TEXTS = st.text('ab{}[]",:\\\n`é', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
PROSE = st.text("ab }]:,'é\n", max_size=20)


@given(OBJECTS, PROSE, PROSE, st.booleans())
def test_every_object_comes_back_from_any_prose(
    value: dict[str, Any], before: str, after: str, fenced: bool
) -> None:
    reply = json.dumps(value, indent=1 if fenced else None)
    block = f"\n```json\n{reply}\n```\n" if fenced else reply
    assert json_object(f"{before}{block}{after}") == value


@given(OBJECTS.filter(bool), st.data())
def test_no_object_that_was_cut_off_is_read(value: dict[str, Any], data: st.DataObject) -> None:
    reply = json.dumps(value)
    length = data.draw(st.integers(1, len(reply) - 1))
    with pytest.raises(ReplyError):
        json_object(reply[:length])


@given(st.text(alphabet='{}[]"\\`,:1a \n<think>|/', max_size=80) | st.text(max_size=200))
def test_nonsense_is_read_or_refused_and_nothing_else(reply: str) -> None:
    with contextlib.suppress(ReplyError):
        json.dumps(json_object(reply), ensure_ascii=False, allow_nan=False).encode()


def test_a_reply_of_many_keys_of_which_one_comes_twice_is_refused_at_once() -> None:
    keys = [f'"{number}":0' for number in range(15_000)]
    begin = time.perf_counter()
    with pytest.raises(ReplyError, match="a key stands twice"):
        json_object("{" + ",".join([*keys, keys[-1]]) + "}")
    # Each key counted among all others would take half a minute.
    assert time.perf_counter() - begin < 2
