"""Keys name stored transforms and cached answers: what was stored is found by later versions."""

import pytest

from instruct_embeddings.guides import (
    GuideByInstruction,
    JudgementGuide,
    LabelGuide,
    LLMGuide,
    MetadataGuide,
)
from instruct_embeddings.guides.chat import ChatModel, Prompt
from instruct_embeddings.guides.chat.cache import answer_key
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.protocols import Guide

MODEL = ChatModel("small-1", lambda prompt: "")
LANGUAGE = MetadataGuide("language")
TEXTS = ["a red <think> ball", "two\nlines"]


@pytest.mark.parametrize(
    ("guide", "key"),
    [
        (LabelGuide({"a": "x", "b": ["y", "é"], "c": None, "d": 1}), "labels:66c57165386a0a90"),
        (LANGUAGE, "metadata:language"),
        (MetadataGuide("tags", separator="|"), 'metadata-split:["tags", "|"]'),
        (
            JudgementGuide([("q", "1", True), ("é", "2", False)], len, start=MetadataGuide("x")),
            "judgements:b9c9b22e9f3756e0:metadata:x",
        ),
        (
            GuideByInstruction({"What language?": MetadataGuide("x"), "b": LabelGuide({"a": 1})}),
            "by-instruction:5d0b39ae7da157c6",
        ),
        (LLMGuide(MODEL), "llm:small-1:8d8cdfa5f4d2c860"),
        (LLMGuide(MODEL, categories={"a": "x", "é": ""}), "llm:small-1:57e3b2ebba6f0132"),
        (
            LLMGuide(MODEL, embed=len, sample=None, texts_per_call=2, seed=3),
            "llm:small-1:ff0f95169d473870",
        ),
    ],
)
def test_keys_of_guides_are_those_of_former_versions(guide: Guide, key: str) -> None:
    assert guide.key == key


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        (prompts.ask(prompts.SUMMARISE, "What?", TEXTS, 0), "9c8073235fa5dbc3"),
        (prompts.ask(prompts.NAME, "What?", TEXTS, 1), "c73e6ff1c9321e68"),
        (prompts.ask(prompts.MERGE, "What?", TEXTS, 0), "e2ae9f657bbb275b"),
        (prompts.ask(prompts.LABEL, "What?", TEXTS, 0, ["a: b", "c"]), "dc18cb38dda2d86c"),
    ],
)
def test_cached_answers_of_former_versions_are_found(prompt: Prompt, key: str) -> None:
    assert answer_key("m", prompt).startswith(key)
