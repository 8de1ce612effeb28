from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import PostProcessor, RobertaProcessing, TemplateProcessing
from transformers import PreTrainedTokenizerFast

from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.settings import TemplateSettings
from instruct_embeddings.encoder.template import Template, collate
from instruct_embeddings.errors import InstructionError
from tests.models import SPECIAL, WORDS
from tests.unit.encoder.conftest import Shelf

CLS, SEP = 2, 3
THE, A, RED, GREEN, BLUE, ROUND, BALL, CUBE = range(5, 13)
WHICH, COLOUR = 19, 22
_BERT = TemplateProcessing(
    "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", 2), ("[SEP]", 3)]
)
_FIRST = TemplateProcessing("[CLS] $A", "[CLS] $A [CLS] $B", [("[CLS]", 2)])
_BOTH = TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
_ROBERTA = RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


def tokenizer(processor: PostProcessor | None = None, **special: str) -> PreTrainedTokenizerFast:
    """A word is a token; the numbers of the words stand above."""
    words = {word: place for place, word in enumerate(SPECIAL + WORDS)}
    built = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    built.pre_tokenizer = Whitespace()
    if processor is not None:
        built.post_processor = processor
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="[UNK]", **special)


def template(
    processor: PostProcessor | None = None, *, pairs: bool = False, **written: Any
) -> Template:
    found = tokenizer(processor, pad_token="[PAD]", eos_token="[SEP]")
    return Template(found, TemplateSettings(**written), pairs=pairs)


@pytest.mark.parametrize(
    ("processor", "pairs", "generic", "instructed"),
    [
        pytest.param(_BERT, True, ((CLS,), (SEP,)), ((CLS,), (SEP, WHICH, COLOUR, SEP)), id="bert"),
        pytest.param(
            _ROBERTA, True, ((CLS,), (SEP,)), ((CLS,), (SEP, SEP, WHICH, COLOUR, SEP)), id="roberta"
        ),
        pytest.param(None, False, ((), ()), ((), (WHICH, COLOUR)), id="qwen"),
        pytest.param(_FIRST, False, ((CLS,), ()), ((CLS,), (WHICH, COLOUR)), id="llama"),
        pytest.param(
            _BOTH, False, ((CLS,), (SEP,)), ((CLS,), (WHICH, COLOUR, SEP)), id="with an end"
        ),
    ],
)
def test_special_tokens_are_those_of_the_tokenizer(
    processor: PostProcessor | None, pairs: bool, generic: Any, instructed: Any
) -> None:
    """Text and instruction are a pair of sentences for a bidirectional encoder only."""
    made = template(processor, pairs=pairs)
    frame = made.frame(None, soft_prompts=3, max_tokens=20)
    assert (frame.head, frame.tail, frame.soft_prompts) == (*generic, 0)
    frame = made.frame("which colour", soft_prompts=3, max_tokens=20)
    assert (frame.head, frame.tail, frame.soft_prompts) == (*instructed, 3)


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "distilbert", "mpnet"])
def test_the_generic_row_is_what_the_tokenizer_itself_writes(shelf: Shelf, kind: str) -> None:
    _, made = shelf.parts(shelf.encoder(kind))
    frame = made.frame(None, soft_prompts=0, max_tokens=20)
    rows = [frame.row(ids) for ids in made.tokenise(["the red ball", ""])]
    assert rows == [[CLS, THE, RED, BALL, SEP], [CLS, SEP]]


def test_what_a_checkpoint_writes_around_text_and_instruction() -> None:
    made = template(_BERT, pairs=True, before="red", between="green", after="blue")
    frame = made.frame("which colour", soft_prompts=0, max_tokens=20)
    row = frame.row([BALL])
    assert row == [CLS, RED, BALL, SEP, GREEN, WHICH, COLOUR, BLUE, SEP]
    # Nothing of it in generic rows.
    assert made.frame(None, soft_prompts=0, max_tokens=20).row([BALL]) == [CLS, BALL, SEP]


def test_an_instruction_in_front_is_written_into_the_text() -> None:
    """Two special tokens, "blue" and three soft prompts leave four of ten; it takes two of them."""
    written = TemplateSettings("", " ", "blue", pair=False, instruction_first=True)
    made = Template(tokenizer(_BERT, pad_token="[PAD]"), written, pairs=False)
    frame = made.frame("which colour", soft_prompts=3, max_tokens=10)
    assert (frame.front, frame.room) == ("which colour ", 4)
    (ids,) = made.tokenise([f"{frame.front}red ball cube"])
    assert frame.row(ids) == [CLS, WHICH, COLOUR, RED, BALL, BLUE, SEP]
    assert made.frame("which colour", soft_prompts=3, max_tokens=9).room == 3
    with pytest.raises(InstructionError, match="take 8 of 8 tokens"):
        made.frame("which colour", soft_prompts=3, max_tokens=8)
    # Generic rows know nothing of it.
    generic = made.frame(None, soft_prompts=3, max_tokens=10)
    assert (generic.front, generic.row([RED])) == ("", [CLS, RED, SEP])


@given(text=TEXTS, instructions=st.lists(TEXTS, min_size=1, max_size=3))
def test_a_text_has_the_same_ids_under_every_instruction(
    text: str, instructions: list[str]
) -> None:
    made = template(_BERT, pairs=True)
    (ids,) = made.tokenise([text])
    for instruction in [*instructions, None]:
        frame = made.frame(instruction, soft_prompts=2, max_tokens=99)
        start = len(frame.head)
        assert frame.row(ids)[start : start + len(ids)] == ids


@pytest.mark.parametrize(
    ("side", "ids", "last", "soft"),
    [
        (
            "right",
            [
                [CLS, RED, SEP, COLOUR, SEP, 0, 0, 0, 0],
                [CLS, THE, RED, BALL, SEP, COLOUR, SEP, 0, 0],
            ],
            [4, 6],
            [[5, 6], [7, 8]],
        ),
        (
            "left",
            [
                [0, 0, CLS, RED, SEP, COLOUR, SEP, 0, 0],
                [CLS, THE, RED, BALL, SEP, COLOUR, SEP, 0, 0],
            ],
            [6, 6],
            [[7, 8], [7, 8]],
        ),
    ],
)
def test_anchors_stand_at_the_end_of_a_row_on_either_side(
    side: Side, ids: list[list[int]], last: list[int], soft: list[list[int]]
) -> None:
    made = template(_BERT, pairs=True)
    frame = made.frame("colour", soft_prompts=2, max_tokens=20)
    rows = [frame.row(text) for text in made.tokenise(["red", "the red ball"])]
    batch = collate(rows, soft_prompts=2, pad_id=made.pad_id, side=side)
    assert batch.ids.tolist() == ids
    assert batch.last.tolist() == last
    assert batch.soft_positions.tolist() == soft


def test_truncation_shortens_the_text_alone() -> None:
    """12 tokens: five around text and instruction, three soft prompts, four of the text."""
    made = template(_BERT, pairs=True)
    frame = made.frame("which colour", soft_prompts=3, max_tokens=12)
    assert frame.room == 4
    row = frame.row(made.tokenise(["a red green blue round ball"])[0])
    assert row == [CLS, A, RED, GREEN, BLUE, SEP, WHICH, COLOUR, SEP]
    assert len(row) + frame.soft_prompts == 12
    assert made.frame("which colour", soft_prompts=3, max_tokens=12, refine_steps=2).room == 2


def test_an_instruction_may_leave_room_for_one_token_but_not_for_none() -> None:
    made = template(_BERT, pairs=True)
    assert made.frame("which colour", soft_prompts=3, max_tokens=9).room == 1
    with pytest.raises(InstructionError, match=r"take 8 of 8 tokens .*Shorten the instruction"):
        made.frame("which colour", soft_prompts=3, max_tokens=8)
    with pytest.raises(InstructionError, match=r"take 13 of 9 tokens .*fewer refine_steps"):
        made.frame("which colour", soft_prompts=3, max_tokens=9, refine_steps=5)
    with pytest.raises(InstructionError, match=r"take 2 of 2 tokens .*raise max_tokens"):
        made.frame(None, soft_prompts=3, max_tokens=2)


@pytest.mark.parametrize(
    ("special", "filler", "pad"),
    [
        ({"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]"}, 2, 0),
        ({"eos_token": "[SEP]"}, 3, 3),
        ({"pad_token": "[MASK]"}, 4, 4),
        ({}, 0, 0),
    ],
)
def test_an_empty_text_without_special_tokens_is_one_token(
    special: dict[str, str], filler: int, pad: int
) -> None:
    """A row without tokens could not go through any model."""
    made = Template(tokenizer(None, **special), TemplateSettings(), pairs=False)
    frame = made.frame(None, soft_prompts=0, max_tokens=20)
    assert frame.row(made.tokenise([""])[0]) == [filler]
    assert made.pad_id == pad
    # With an instruction there is no need for it.
    assert made.frame("colour", soft_prompts=0, max_tokens=20).row([]) == [COLOUR]


def test_no_texts_have_no_ids() -> None:
    assert template().tokenise([]) == []


def test_what_was_saved_with_a_tokenizer_cuts_and_pads_nothing() -> None:
    """The files of all-MiniLM-L6-v2 ask for 128 tokens and for padding."""
    saved = tokenizer(_BERT, pad_token="[PAD]")
    saved.backend_tokenizer.enable_truncation(3)
    saved.backend_tokenizer.enable_padding(length=6)
    made = Template(saved, TemplateSettings(), pairs=True)
    assert made.tokenise(["a red green blue", "a"]) == [[A, RED, GREEN, BLUE], [A]]


def test_a_call_leaves_the_tokenizer_as_it_was() -> None:
    """Threads share it, and it has one setting for truncation and padding."""
    shared = tokenizer(_BERT, pad_token="[PAD]")
    made = Template(shared, TemplateSettings(), pairs=True)
    before = shared.backend_tokenizer.to_str()
    ids = made.tokenise(["red " * 600, "", "a"])
    made.frame("which colour", soft_prompts=3, max_tokens=20).row(ids[0])
    assert shared.backend_tokenizer.to_str() == before
