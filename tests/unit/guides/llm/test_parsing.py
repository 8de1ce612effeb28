import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.guides.chat import ReplyError
from instruct_embeddings.guides.llm.prompts import (
    declined,
    read_choices,
    read_merged,
    read_names,
    read_summaries,
)


def listed(entries: str) -> str:
    """A reply that lists categories."""
    return f'{{"categories": {entries}}}'


def test_summaries_are_in_the_order_of_the_texts() -> None:
    reply = '{"2": " in\\nPerl ", "1": null, "3": "", "4": "' + "x" * 250 + '"}'
    assert read_summaries(4)(reply) == [None, "in Perl", None, "x" * 200 + " [...]"]


def test_choices_are_known_numbers_none_of_them_or_refusals() -> None:
    assert read_choices(3, 7)('Sure: {"1": 7, "2": 0, "3": null}') == [7, 0, None]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ('{"1": 1}', r"keys 1 to 2: missing or not asked for are \['2'\]"),
        ('{"1": 1, "2": 2, "3": 1}', r"not asked for are \['3'\]"),
        ('{"1": 1, "2": 4}', "entry is 4, which is not a number from 0 to 3"),
        ('{"1": -1, "2": 1}', "entry is -1"),
        ('{"1": true, "2": 1}', "entry is True"),
        ('{"1": "1", "2": 1}', "entry is '1'"),
        ('{"1": 1.0, "2": 1}', "entry is 1.0"),
        ('{"1": 1, "1": 2, "2": 2}', "stands twice"),
        ("[1, 2]", "a JSON object"),
        ("1, 2", "holds no JSON"),
        ("", "holds no JSON"),
    ],
)
def test_other_choices_are_refused_with_what_is_wrong(reply: str, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        read_choices(2, 3)(reply)


@given(st.text() | st.dictionaries(st.text(), st.integers() | st.none()).map(repr))
def test_whatever_a_model_says_choices_are_known_numbers(reply: str) -> None:
    try:
        found = read_choices(2, 3)(reply)
    except ReplyError:
        return
    assert len(found) == 2
    assert set(found) <= {None, 0, 1, 2, 3}


def test_summaries_are_texts() -> None:
    with pytest.raises(ReplyError, match="entry is neither a string nor null"):
        read_summaries(1)('{"1": ["x"]}')


def test_names_come_with_descriptions_and_without_leftovers() -> None:
    reply = (
        '[{"name": " Perl\\n5", "description": "a\\n b"}, {"name": "Other", "description": ""}, '
        '{"name": "<|im_end|>C"}]'
    )
    assert read_names(listed(reply)) == {"Perl 5": "a b", "< |im_end|>C": ""}
    assert read_names(listed("[]")) == {}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ('"Perl"', 'a list under "categories"'),
        ('["Perl"]', "an object of"),
        ('[{"name": 3}]', "strings"),
        ('[{"name": "a", "description": null}]', "strings"),
        ('[{"name": " "}]', "A name has 0 characters"),
        ('[{"name": "' + "x" * 81 + '"}]', "A name has 81 characters; 1 to 80"),
        ('[{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]', "4 categories are too"),
    ],
)
def test_other_names_are_refused(reply: str, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        read_names(listed(reply))


def test_long_descriptions_are_cut() -> None:
    found = read_names(listed('[{"name": "a", "description": "' + "x" * 999 + '"}]'))
    assert found == {"a": "x" * 300}


def merged(*groups: tuple[str, Any]) -> str:
    entries = ", ".join(f'{{"name": "{name}", "numbers": {numbers}}}' for name, numbers in groups)
    return listed(f"[{entries}]")


def test_each_proposed_category_goes_into_one() -> None:
    reply = merged(("a", [1, 3]), ("None", [4]), ("b", [2]))
    assert read_merged(4)(reply) == {"a": "", "b": ""}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (merged(("a", [1])), r"one category: not so \[2\]"),
        (merged(("a", [1, 2]), ("b", [2])), r"one category: not so \[2\]"),
        (merged(("a", [1, 3])), '"numbers" has to be a list of numbers from 1 to 2'),
        (merged(("a", []), ("b", [1, 2])), '"numbers" has to be'),
        (merged(("a", 1)), '"numbers" has to be'),
        (merged(("a", [1]), ("A", [2])), "the same name"),
        (merged(*((str(i), [1]) for i in range(31))), "31 categories are too many"),
        (listed('[{"numbers": [1, 2]}]'), "strings"),
    ],
)
def test_other_merges_are_refused(reply: str, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        read_merged(2)(reply)


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I can\u2019t.", True),
        ("I am unable to sort this.", True),
        ("", True),
        ("blue, blue, and blue", False),
        ('{"1": "sorry, cannot"}', False),
        ("unrefusable candy", False),
    ],
)
def test_refusals_in_prose_are_told_from_nonsense(reply: str, refusal: bool) -> None:
    assert declined(reply) is refusal


@pytest.mark.parametrize("reply", ['{"1": "%s"}', '{"1": 0, "%s": 1}', '{"%s": 0}'])
def test_what_the_model_is_told_about_a_long_reply_is_short(reply: str) -> None:
    """It is paid for."""
    with pytest.raises(ReplyError) as raised:
        read_choices(1, 2)(reply % ("x" * 5000))
    assert len(str(raised.value)) < 200


def test_a_merge_of_very_many_numbers_is_refused_at_once() -> None:
    numbers = ",".join(["1"] * 90_000)
    reply = listed(f'[{{"name": "a", "description": "", "numbers": [{numbers}]}}]')
    begin = time.perf_counter()
    with pytest.raises(ReplyError, match=r"not so \[1, 2\]"):
        read_merged(2)(reply)
    # Each number counted among all others would take minutes.
    assert time.perf_counter() - begin < 2
