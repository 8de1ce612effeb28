from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    RefinementSettings,
    TemplateSettings,
)
from instruct_embeddings.encoder.template import Template
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.training import rows as rows_module
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.rows import RowMaker
from tests.models import SPECIAL, WORDS, build_model, quiet, tiny

WORD = dict(enumerate(SPECIAL + WORDS))


@cache
def template(kind: str) -> Template:
    tokenizer = AutoTokenizer.from_pretrained(tiny(kind))
    return Template(tokenizer, TemplateSettings(), pairs=kind == "bert")


def maker(kind: str = "bert", *, limits: dict[str, int] | None = None, **changes: Any) -> RowMaker:
    settings = EncoderSettings("tiny", **({"max_tokens": 12} | changes))
    causal = kind != "bert"
    return RowMaker(template(kind), settings, device="cpu", causal=causal, limits=limits)


def example(text: str, instruction: str = "what colour", answer: str = "red") -> Example:
    return Example(text, instruction, answer, group="things/colour")


def words(ids: list[int]) -> str:
    return " ".join(WORD[i].strip("[]") for i in ids)


def test_a_row_is_text_and_instruction() -> None:
    [row] = maker().instructed([example("a red ball")])
    assert words(row) == "CLS a red ball SEP what colour SEP"


def test_a_row_alone_has_the_length_of_generic_rows() -> None:
    [row] = maker(generic_max_tokens=4).generic(["a red ball sits"])
    assert words(row) == "CLS a red SEP"


def test_texts_of_a_set_are_cut_to_its_limit() -> None:
    pair = [example("a red ball"), Example("a red ball", "what colour", "red", group="other/x")]
    cut, whole = maker(limits={"things": 1}).instructed(pair)
    assert (words(cut), len(whole)) == ("CLS a SEP what colour SEP", 8)


def test_a_teacher_reads_the_answer_at_the_end() -> None:
    made, counts = maker().answered([example("a red ball"), example("", answer="thank you")], 64)
    assert words(made[0]) == "CLS a red ball SEP what colour SEP red"
    assert words(made[1]) == "CLS SEP what colour SEP thank you"
    assert counts == [1, 2]


def test_the_text_makes_room_for_the_answer() -> None:
    text, answer = "a red ball sits on the table", "not a green cube on paper"
    [row], [count] = maker().answered([example(text, answer=answer)], 64)
    # 12 tokens, 5 of them around the text: 7 are shared.
    assert words(row) == "CLS a red ball sits SEP what colour SEP not a green"
    assert count == 3
    assert maker().answered([example(text, answer=answer)], 2)[1] == [2]


def test_an_answer_without_tokens_stands_as_padding() -> None:
    [row], [count] = maker().answered([example("a ball", answer=" ")], 64)
    assert (WORD[row[-1]], count) == ("[PAD]", 1)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=4),
    st.integers(6, 20),
)
def test_no_row_is_longer_than_rows_may_be(lengths: list[tuple[int, int]], most: int) -> None:
    examples = [example("red " * n, answer="blue " * m) for n, m in lengths]
    made, counts = maker(max_tokens=most).answered(examples, 64)
    assert max(map(len, made)) <= most
    assert all(row[-count:] == [8 + 1] * count for row, count in zip(made, counts, strict=True))


def test_instructions_that_leave_no_room_do_not_fit() -> None:
    small = maker(max_tokens=6)
    assert small.fits(example("a"))
    long = example("a", "what colour is it")
    assert not small.fits(long)
    with pytest.raises(InstructionError, match="of 6 tokens and leave no room"):
        small.instructed([long])
    assert not maker(max_tokens=6, soft_prompts=1).fits(example("a"))


def test_what_is_kept_of_instructions_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_MOST_FRAMES", 2)
    some = maker()
    assert all(some.fits(example("a", word)) for word in WORDS)
    assert some._frame.cache_info().currsize <= 2


def test_passes_hold_each_row_once_longest_first() -> None:
    texts = ["a", "a red ball", "a red", "ball"]
    chunks = maker(soft_prompts=1).chunks([example(text) for text in texts], 2, None)
    assert [chunk.indices.tolist() for chunk in chunks] == [[1, 2], [0, 3]]
    # Nine and seven tokens, padded to multiples of eight.
    assert [chunk.batch.ids.shape for chunk in chunks] == [(2, 16), (2, 8)]
    assert [chunk.batch.mask.sum(1).tolist() for chunk in chunks] == [[9, 8], [7, 7]]
    assert all(chunk.plain is None and chunk.batch.soft_prompts == 1 for chunk in chunks)


def test_passes_are_bounded_by_padded_tokens_too() -> None:
    examples = [example("a red ball") for _ in range(5)]
    sizes = [len(chunk.indices) for chunk in maker().chunks(examples, 4, 24)]
    assert sizes == [3, 2]


@pytest.mark.parametrize(
    ("max_tokens", "steps", "length"), [(16, 0, 16), (15, 0, 9), (18, 2, 16), (17, 2, 9)]
)
def test_padding_is_never_longer_than_rows_may_be(max_tokens: int, steps: int, length: int) -> None:
    # A row of nine tokens; soft tokens follow behind the padding.
    made = maker(
        max_tokens=max_tokens,
        generic_max_tokens=8,
        soft_prompts=1,
        refinement=RefinementSettings(steps=steps),
    )
    [chunk] = made.chunks([example("a red ball")], 9, None)
    assert chunk.batch.ids.shape == (1, length)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_padding_fits_a_backbone_of_an_odd_number_of_positions(kind: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path / "odd", kind, max_position_embeddings=13)
    with quiet():
        model = AutoModel.from_pretrained(folder)
    made = RowMaker(
        template(kind),
        EncoderSettings(str(folder), max_tokens=13, generic_max_tokens=13),
        device="cpu",
        causal=False,
    )
    [chunk] = made.chunks([example("a red ball sits on the table")], 9, None)
    states = model(input_ids=chunk.batch.ids, attention_mask=chunk.batch.mask).last_hidden_state
    # Padded to a multiple of eight, these rows would have 16 positions.
    assert 8 < states.shape[1] <= 13


def test_plain_rows_are_those_of_the_same_texts() -> None:
    chunks = maker().chunks([example("a"), example("a red ball")], 9, None, plain=True)
    assert chunks[0].plain is not None
    found = [words(row[row != 0].tolist()) for row in chunks[0].plain.ids]
    assert found == ["CLS a red ball SEP", "CLS a SEP"]


@pytest.mark.parametrize(("kind", "column"), [("bert", 0), ("llama", -1)])
def test_causal_rows_are_padded_at_the_left(kind: str, column: int) -> None:
    [chunk] = maker(kind).chunks([example("a"), example("a red ball")], 9, None)
    assert torch.equal(chunk.batch.mask[:, column], torch.ones(2, dtype=torch.long))
