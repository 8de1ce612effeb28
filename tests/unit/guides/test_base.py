from typing import Any

import pytest

from instruct_embeddings.errors import GuideError, InstructionError
from instruct_embeddings.guides import GuideByInstruction, LabelGuide, MetadataGuide
from instruct_embeddings.protocols import Guide, Rows

COLOUR, SHAPE = MetadataGuide("colour"), LabelGuide({"1": "ball"})
GUIDE = GuideByInstruction({"What colour?": COLOUR, "What shape?": SHAPE})


@pytest.mark.parametrize("text", ["What colour?", " WHAT  colour ", "what colour."])
def test_a_guide_is_chosen_however_the_instruction_is_typed(text: str) -> None:
    assert GUIDE.choose(text) is COLOUR
    assert GUIDE.choose("What shape?") is SHAPE


def test_the_chosen_guide_judges() -> None:
    sample = Rows(ids=("1",), metadatas=({"colour": "red"},))
    assert GUIDE.judge("what shape", sample) == SHAPE.judge("what shape", sample)
    assert GUIDE.judge("what colour", sample) == COLOUR.judge("what colour", sample)


def test_an_unknown_instruction_names_those_that_are_known() -> None:
    with pytest.raises(GuideError, match=r"'What size\?'.*'What colour\?', 'What shape\?'"):
        GUIDE.choose("What size?")


def test_guides_and_instructions_are_needed() -> None:
    with pytest.raises(GuideError, match="got no guides"):
        GuideByInstruction({})
    with pytest.raises(InstructionError, match="empty"):
        GuideByInstruction({"  ": COLOUR})


def test_the_key_depends_on_instructions_and_guides_not_on_their_order() -> None:
    guide: Guide = GUIDE
    turned = GuideByInstruction({"what SHAPE": SHAPE, "what colour": COLOUR})
    assert guide.key == turned.key
    others = [
        GuideByInstruction({"What colour?": COLOUR}),
        GuideByInstruction({"What colour?": SHAPE, "What shape?": COLOUR}),
    ]
    assert len({guide.key, *(other.key for other in others)}) == 3
    assert guide.ids() is None
    assert repr(guide) == "GuideByInstruction(['What colour?', 'What shape?'])"


def test_one_instruction_has_one_guide() -> None:
    guides = {"What colour?": MetadataGuide("colour"), " what COLOUR ": MetadataGuide("shape")}
    with pytest.raises(InstructionError, match=r"'What colour\?' and ' what COLOUR ' are one"):
        GuideByInstruction(guides)


@pytest.mark.parametrize("guides", [None, [], ["a"], "What colour?"])
def test_guides_come_as_a_mapping(guides: Any) -> None:
    with pytest.raises(GuideError, match=r"got no guides: .*Pass \{instruction: guide\}"):
        GuideByInstruction(guides)


def test_marks_within_keys_do_not_make_keys_equal() -> None:
    one = GuideByInstruction({"a": MetadataGuide("x\x1eb\x1fmetadata:y")})
    other = GuideByInstruction({"a": MetadataGuide("x"), "b": MetadataGuide("y")})
    assert one.key != other.key
