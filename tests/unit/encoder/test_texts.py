import asyncio
import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.encoder import check_texts
from instruct_embeddings.encoder.texts import collect_truncations, warn_of_truncation
from instruct_embeddings.errors import ConfigError, InstructionError, TextError, TruncationWarning
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint


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


def test_a_pair_of_surrogates_that_became_one_character_is_fine() -> None:
    assert check_texts(["😀\x00"]) == ["😀\x00"]


@pytest.mark.parametrize("instruction", ["", " \n", "x" * 3000, 3, b"which", ["which"], "a\ud800"])
def test_an_instruction_that_is_no_plain_sentence_is_refused(
    encoder: InstructEncoder, instruction: Any
) -> None:
    with pytest.raises(InstructionError):
        encoder.encode(TEXTS, instruction=instruction)
    with pytest.raises(InstructionError):
        encoder.encode_grid(TEXTS, ["fine", instruction])


def test_an_instruction_is_stripped(encoder: InstructEncoder) -> None:
    expected = encoder.encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_array_equal(encoder.encode(TEXTS, instruction=f" {INSTRUCTION}\n"), expected)


@pytest.mark.parametrize("instructions", ["which colour", b"which colour"])
def test_a_bare_instruction_is_no_list_of_them(encoder: InstructEncoder, instructions: Any) -> None:
    with pytest.raises(TypeError, match=r"wrap it: \[instruction\]"):
        encoder.encode_grid(TEXTS, instructions)


def test_the_warning_counts_and_says_what_to_do() -> None:
    with pytest.warns(TruncationWarning) as caught:
        warn_of_truncation(1200, 34567, 8000)
    assert str(caught[0].message) == (
        "1,200 of 34,567 texts are longer than the 8,000 tokens that are left for a text beside "
        "instruction and special tokens; their ends were not embedded. Split them, or raise "
        "max_tokens where the model allows it."
    )


def test_no_cut_text_is_no_warning() -> None:
    warn_of_truncation(0, 5, 10)


def test_warnings_of_parts_are_kept_back_for_the_whole() -> None:
    with warnings.catch_warnings(), collect_truncations() as cuts:
        warnings.simplefilter("error")
        warn_of_truncation(2, 5, 10)
        warn_of_truncation(0, 5, 10)
        warn_of_truncation(1, 5, 12)
    assert cuts == [(2, 10), (1, 12)]
    with pytest.warns(TruncationWarning):
        warn_of_truncation(1, 5, 12)


# The same through an encoder


@pytest.mark.parametrize(
    ("precision", "dtype", "width"),
    [
        ("float32", np.float32, 32),
        ("float16", np.float16, 32),
        ("int8", np.int8, 32),
        ("binary", np.uint8, 4),
    ],
)
async def test_no_texts_are_an_empty_array_and_nothing_is_loaded(
    precision: Any, dtype: type, width: int, loads: list[Any]
) -> None:
    with InstructEncoder.from_pretrained(
        tiny_checkpoint(), device="cpu", precision=precision
    ) as encoder:
        steps = encoder.encode_steps([], instruction=INSTRUCTION, refine_steps=2)
        found = [
            encoder.encode([]),
            encoder.encode([], instruction=INSTRUCTION),
            encoder.encode(()),
            await encoder.aencode([]),
            encoder.encode_grid([], [INSTRUCTION, None])[0],
            steps[0],
        ]
        assert {(one.shape, one.dtype) for one in found} == {((0, width), np.dtype(dtype))}
        assert steps.shape == (2, 0, width)
        assert encoder.encode_grid(TEXTS, []).shape == (0, 6, width)
        assert encoder.encode_grid([], [None, "a", "b"]).shape == (3, 0, width)
    assert loads == []


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"texts": "red"}, TypeError, r"got a bare str; wrap it: \[text\]"),
    ({"texts": b"red"}, TypeError, "got a bare bytes"),
    ({"texts": None}, TypeError, "of type NoneType"),
    ({"texts": ["a", None]}, TypeError, "Text 1 is of type NoneType"),
    ({"texts": ["a", "b", 3]}, TypeError, "Text 2 is of type int"),
    ({"texts": ["a", "\ud800"]}, TextError, "Text 1 holds the lone surrogate U\\+D800"),
    ({"instruction": "\udfff"}, InstructionError, "holds half of a surrogate pair"),
    ({"instruction": ""}, InstructionError, "is empty"),
    ({"instruction": "  "}, InstructionError, "is empty"),
    ({"instruction": "x" * 3000}, InstructionError, "has 3,000 characters; at most 2,000"),
    ({"instruction": 3}, InstructionError, "plain sentence, got int"),
    ({"refine_steps": 2}, ConfigError, "refine_steps=2 without an instruction"),
    (
        {"refine_steps": -1, "instruction": "a"},
        ConfigError,
        "refine_steps must be an integer .*got -1",
    ),
    (
        {"refine_steps": "2", "instruction": "a"},
        ConfigError,
        "refine_steps must be an integer .*got '2'",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=lambda x: str(x)[:40])
def test_bad_input_is_refused_before_a_file_is_read(
    call: dict[str, Any], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instruct_embeddings.encoder.encoder.find_source", None)
    encoder = InstructEncoder.from_pretrained("nobody/nothing")
    with pytest.raises(error, match=message):
        encoder.encode(**({"texts": TEXTS} | call))
    with pytest.raises(error, match=message):
        asyncio.run(encoder.aencode(**({"texts": TEXTS} | call)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"texts": TEXTS, "instructions": "which"}, r"wrap it: \[instruction\]"),
        ({"texts": TEXTS, "instructions": ["a", ""]}, "is empty"),
        ({"texts": ["a\ud800"], "instructions": ["a"]}, "lone surrogate"),
        ({"texts": "red", "instructions": ["a"]}, "wrap it"),
    ],
)
def test_bad_input_of_a_grid_is_refused_before_a_file_is_read(
    call: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instruct_embeddings.encoder.encoder.find_source", None)
    with pytest.raises((TypeError, ValueError), match=message):
        InstructEncoder.from_pretrained("nobody/nothing").encode_grid(**call)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncate_dim": 33}, "truncate_dim=33, and the embeddings of .* have 32 dim.* 1 to 32"),
        ({"truncate_dim": 12, "precision": "binary"}, "8 dimensions into a byte, and there are 12"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_before_weights_are_loaded(
    options: Any, message: str, loads: list[Any]
) -> None:
    with InstructEncoder.from_pretrained(tiny(), **options) as encoder:
        with pytest.raises(ConfigError, match=message):
            encoder.encode(TEXTS)
        with pytest.raises(ConfigError, match=message):
            _ = encoder.dimension
    assert loads == []


def test_steps_that_are_no_steps_are_refused() -> None:
    encoder = InstructEncoder.from_pretrained("nobody/nothing")
    with pytest.raises(ConfigError, match="Pass at least one step and a sentence"):
        encoder.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=0)
    with pytest.raises(ConfigError, match="Pass at least one step and a sentence"):
        encoder.encode_steps(TEXTS, instruction=None, refine_steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
@pytest.mark.parametrize("instruction", [None, INSTRUCTION])
def test_empty_texts_and_odd_characters_have_embeddings(kind: str, instruction: str | None) -> None:
    odd = ["", " ", "\n\t", "\x00", "a\x00b", "😀", "e\u0301", "\u200b", "\ufeff", "ball " * 20]
    with InstructEncoder.from_pretrained(tiny_checkpoint(kind), device="cpu") as encoder:
        together = encoder.encode(odd, instruction=instruction)
        assert np.isfinite(together).all()
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
        for text, vector in zip(odd, together, strict=True):
            alone = encoder.encode([text], instruction=instruction)
            np.testing.assert_allclose(alone, vector[None], atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_a_megabyte_of_text_is_cut_and_counted_in_little_time(kind: str) -> None:
    huge = "the red ball " * 80_000
    assert len(huge) > 1e6
    with InstructEncoder.from_pretrained(tiny_checkpoint(kind), device="cpu") as encoder:
        encoder.encode(TEXTS)
        start = time.perf_counter()
        with pytest.warns(TruncationWarning, match="2 of 8 texts are longer than") as caught:
            found = encoder.encode([huge, *TEXTS, huge], instruction=INSTRUCTION)
        assert time.perf_counter() - start < 20
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            short = encoder.encode([huge[:2000]], instruction=INSTRUCTION)
    np.testing.assert_allclose(found[[0, -1]], np.repeat(short, 2, axis=0), atol=1e-5)


def test_a_grid_of_mixed_instructions_warns_once(encoder: InstructEncoder) -> None:
    with pytest.warns(TruncationWarning) as caught:
        encoder.encode_grid(["the red ball " * 60, "a cube"], [None, INSTRUCTION, None])
    assert [str(one.message)[:11] for one in caught] == ["1 of 2 text"]


def test_an_instruction_without_room_for_a_text_says_what_to_do(encoder: InstructEncoder) -> None:
    with pytest.raises(InstructionError, match="leave no room for a text"):
        encoder.encode(TEXTS, instruction="which colour is it " * 40)


def test_texts_are_neither_altered_nor_kept(encoder: InstructEncoder) -> None:
    texts = ["  The red ball\n", "", "the red ball"]
    kept = list(texts)
    encoder.encode(texts)
    assert texts == kept
