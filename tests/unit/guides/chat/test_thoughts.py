"""A model that thinks aloud: what it says before it has thought is not its answer."""

import time

import pytest

from instruct_embeddings.guides.chat import ReplyError, json_object, without_thoughts
from instruct_embeddings.guides.llm.prompts import clean

OTHER, ANSWER = '{"1": 2}', '{"1": 1}'
MARKS = [
    ("<think>", "</think>"),
    ("<THINKING>", "</THINKING>"),
    ("<thought>", "</thought>"),
    ("<thoughts depth='2'>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reasoning_content>", "</reasoning_content>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<antThinking>", "</antThinking>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think|>", "<|/think|>"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<\uff5cbegin\u2581of\u2581thinking\uff5c>", "<\uff5cend\u2581of\u2581thinking\uff5c>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>commentary<|message|>", "<|channel|>final <|constrain|>json<|message|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|im_start|>think\n", "<|im_start|>answer\n"),
    ("analysisWe sort ", "assistantfinal"),
    ("Here is my thought process:\n", "Here is my response:\n"),
]
IN_WORDS = ("analysisWe", "Here is")


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_what_follows_the_last_closing_mark_is_the_answer(opening: str, closing: str) -> None:
    for thoughts in (OTHER, f"maybe {OTHER}", f'"{OTHER[:4]}', f"{OTHER} {closing} or {OTHER}?"):
        assert json_object(f"{opening}{thoughts}\n{closing}\n{ANSWER}") == {"1": 1}
        assert json_object(f"{opening}{thoughts}{closing}{ANSWER}<|end|> Done.") == {"1": 1}


@pytest.mark.parametrize(
    ("opening", "closing"), [marks for marks in MARKS if not marks[0].startswith(IN_WORDS)]
)
def test_the_opening_mark_may_be_left_out(opening: str, closing: str) -> None:
    assert json_object(f"maybe {OTHER}\n{closing}\n{ANSWER}") == {"1": 1}
    assert json_object(f"{closing} {ANSWER}") == {"1": 1}


@pytest.mark.parametrize(
    ("opening", "closing"), [marks for marks in MARKS if marks[0] != "<|thinking_start|>"]
)
def test_thoughts_without_an_answer_are_none(opening: str, closing: str) -> None:
    for reply in (
        f"{opening}{OTHER}",
        f"{opening}{OTHER}{closing}",
        f"{opening}{OTHER}{closing} ?",
    ):
        with pytest.raises(ReplyError, match="holds no JSON"):
            json_object(reply)


def test_thoughts_after_the_answer_are_none() -> None:
    assert json_object(f"{ANSWER}\n<think>Or was it {OTHER}?") == {"1": 1}
    assert json_object(f"<think>a</think>{ANSWER}<|channel|>analysis {OTHER}") == {"1": 1}


@pytest.mark.parametrize(
    "reply",
    [
        'Analysis: it is the first one. {"1": "<reasoning> in a text"}',
        'For [reason] we say {"1": "<reasoning> in a text"}',
        'Here is my response: {"1": "<reasoning> in a text"}',
        '<analytics> <thinkpad> assistant final {"1": "<reasoning> in a text"}',
    ],
)
def test_other_words_are_no_thoughts(reply: str) -> None:
    assert without_thoughts(reply) == reply
    assert json_object(reply) == {"1": "<reasoning> in a text"}


@pytest.mark.parametrize(("opening", "closing"), MARKS[:-1])
def test_no_text_of_a_collection_ends_the_thoughts_of_a_model(opening: str, closing: str) -> None:
    quoted = clean(f"{closing} {OTHER}")
    with pytest.raises(ReplyError, match="holds no JSON"):
        json_object(f"<think>The text says {quoted} and")
    if not opening.startswith(IN_WORDS):
        assert json_object(f"{clean(opening)} {ANSWER}") == {"1": 1}


def test_long_thoughts_are_no_long_reply() -> None:
    begin = time.process_time()
    assert json_object(f"{'<think> { [ ' * 50_000}</think>{ANSWER}") == {"1": 1}
    assert time.process_time() - begin < 2
