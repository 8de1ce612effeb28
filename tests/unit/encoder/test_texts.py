import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder.texts import (
    check_instructions,
    check_sentence,
    check_texts,
    collected_cuts,
    warn_of_cut_texts,
)
from instruct_embeddings.errors import InstructionError, TextError, TruncationWarning


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_that_can_be_written_pass_unchanged(texts: list[str]) -> None:
    assert check_texts(texts) == texts
    assert check_texts(iter(texts)) == texts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("red", r"takes a list of texts, got a bare str; wrap it: \[text\]"),
        (b"red", r"got a bare bytes; wrap it"),
        (None, "got a value of type NoneType. Pass a list of str"),
        (3, "got a value of type int. Pass a list of str"),
        (["red", None], "Text 1 is of type NoneType, not str"),
        (["red", "blue", b"green"], "Text 2 is of type bytes, not str"),
        ([["red"]], "Text 0 is of type list, not str"),
    ],
)
def test_what_is_not_a_list_of_strings_is_named(texts: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_texts(texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a\ud800b", "a\udfff", "a\udc80\ud83d"])
def test_a_lone_surrogate_is_found_with_its_text_and_character(text: str) -> None:
    with pytest.raises(TextError, match=f"Text 1 holds .* U\\+{ord(text[1]):04X} at character 1"):
        check_texts(["é", text])
    with pytest.raises(TextError, match="The instruction holds the lone surrogate"):
        check_sentence(text)


def test_a_pair_of_surrogates_that_became_one_character_is_fine() -> None:
    assert check_texts(["😀\x00"]) == ["😀\x00"]


def test_an_instruction_is_stripped_and_none_stays_none() -> None:
    assert check_sentence("  which colour\n") == "which colour"
    assert check_sentence(None) is None
    assert check_instructions([None, " a "]) == [None, "a"]


@pytest.mark.parametrize("instruction", ["", " \n", "x" * 3000, 3, b"which"])
def test_an_instruction_that_is_no_plain_sentence_is_refused(instruction: object) -> None:
    with pytest.raises(InstructionError):
        check_sentence(instruction)  # type: ignore[arg-type]
    with pytest.raises(InstructionError):
        check_instructions(["fine", instruction])  # type: ignore[list-item]


@pytest.mark.parametrize("instructions", ["which colour", b"which colour"])
def test_a_bare_instruction_is_no_list_of_them(instructions: object) -> None:
    with pytest.raises(TypeError, match=r"wrap it: \[instruction\]"):
        check_instructions(instructions)  # type: ignore[arg-type]


def test_the_warning_counts_and_says_what_to_do() -> None:
    with pytest.warns(TruncationWarning) as caught:
        warn_of_cut_texts(1200, 34567, 8000)
    assert str(caught[0].message) == (
        "1,200 of 34,567 texts are longer than the 8,000 tokens that are left for a text beside "
        "instruction and special tokens; their ends were not embedded. Split them, or raise "
        "max_tokens where the model allows it."
    )


def test_no_cut_text_is_no_warning() -> None:
    warn_of_cut_texts(0, 5, 10)


def test_warnings_of_parts_are_kept_back_for_the_whole() -> None:
    with warnings.catch_warnings(), collected_cuts() as cuts:
        warnings.simplefilter("error")
        warn_of_cut_texts(2, 5, 10)
        warn_of_cut_texts(0, 5, 10)
        warn_of_cut_texts(1, 5, 12)
    assert cuts == [(2, 10), (1, 12)]
    with pytest.warns(TruncationWarning):
        warn_of_cut_texts(1, 5, 12)
