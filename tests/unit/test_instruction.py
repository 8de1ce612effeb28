"""An instruction with examples: a value, checked when it is made."""

import json
import pickle
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings import Instruction
from instruct_embeddings.config import (
    check_instruction,
    check_instructions,
    examples_in,
    normalise_instruction,
    optional_instruction,
)
from instruct_embeddings.errors import InstructionError

REBUTTAL = Instruction(" Find the rebuttal. ", examples=[("ban it", "keep it"), ["a", "b", " c "]])  # type: ignore[list-item]
TEXTS = st.text("abc ", min_size=1).filter(str.strip)


def test_it_is_a_value() -> None:
    same = Instruction(
        "Find the rebuttal.", examples=(("ban it", "keep it"), ("a", "b", "c"), ("a", "b", "c"))
    )
    assert same == REBUTTAL
    assert hash(same) == hash(REBUTTAL)
    assert REBUTTAL.text == "Find the rebuttal."
    assert REBUTTAL.examples == (("ban it", "keep it"), ("a", "b", "c"))
    assert Instruction("Find the rebuttal.", examples=[("a", "b")]) != REBUTTAL


@given(TEXTS, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_it_survives_being_written(text: str, examples: list[tuple[str, str]]) -> None:
    made = Instruction(text, examples=examples)
    assert pickle.loads(pickle.dumps(made)) == made
    assert Instruction(**json.loads(json.dumps(asdict(made)))) == made


def test_it_stands_where_a_sentence_does() -> None:
    assert check_instruction(REBUTTAL) == "Find the rebuttal."
    assert normalise_instruction(REBUTTAL) == "find the rebuttal"
    asked = {REBUTTAL: 3.0, "Find the source.": 1.0}
    assert check_instructions(asked) == {"Find the rebuttal.": 0.75, "Find the source.": 0.25}
    assert examples_in(asked) == {"Find the rebuttal.": REBUTTAL}
    assert examples_in(REBUTTAL) == {"Find the rebuttal.": REBUTTAL}
    assert examples_in("Find the rebuttal.") == examples_in(None) == {}


def test_one_sentence_with_and_without_examples_is_one() -> None:
    with pytest.raises(
        InstructionError, match=r"'Find the rebuttal\.' and 'find the rebuttal' are"
    ):
        check_instructions({REBUTTAL: 1.0, "find the rebuttal": 1.0})


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "There are 0 examples"),
        ([("q", "g")] * 101, "There are 101 examples"),
        ("query", "examples='query' is of type str"),
        (None, "examples=None is of type NoneType"),
        ([("q",)], r"An example is \('q',\)"),
        (["qg"], "An example is 'qg'"),
        ([("q", "g", "b", "x")], "An example is"),
        ([("q", " ")], r"A text of the example \('q', ' '\) is ' '"),
        ([("q", 7)], r"A text of the example \('q', 7\) is 7"),
        ([("q", "g", None)], "is None"),
    ],
)
def test_what_is_no_example_is_refused(examples: Any, message: str) -> None:
    with pytest.raises(InstructionError, match=message) as refused:
        Instruction("Find it.", examples=examples)
    assert "Allowed are 1 to 100 examples" in str(refused.value)
    assert 'Pass examples=[("it ate my photos"' in str(refused.value)


@pytest.mark.parametrize(
    "examples", [[("q", "g", "g")], [("q", "g"), ("q", "x", " g")], [("q", "x", "g"), ("q", "g")]]
)
def test_contradictions_are_refused(examples: Any) -> None:
    with pytest.raises(InstructionError, match="for 'q' the text 'g' is both good and bad"):
        Instruction("Find it.", examples=examples)


def test_a_text_may_be_good_for_one_query_and_bad_for_another() -> None:
    Instruction("Find it.", examples=[("q", "g", "b"), ("r", "b", "g")])


def test_an_empty_sentence_is_refused() -> None:
    with pytest.raises(InstructionError, match="empty"):
        Instruction(" ", examples=[("q", "g")])


def test_an_embedding_has_no_use_for_examples() -> None:
    with pytest.raises(InstructionError, match=r"carries 2 examples.*Pass its text"):
        optional_instruction(REBUTTAL)  # type: ignore[arg-type]
