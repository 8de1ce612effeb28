"""Models that were trained with the instruction in front of the text, such as "query: ..."."""

import numpy as np
import pytest

from instruct_embeddings import InstructEncoder
from instruct_embeddings.errors import ConfigError, InstructionError, TruncationWarning
from tests.models import TEXTS, tiny, tiny_checkpoint

PREFIXED = "{instruction} {text}"


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_prefix_is_read_as_part_of_the_text(kind: str) -> None:
    """The same pooling on both sides, so the generic embedding of the whole is the reference."""
    encoder = InstructEncoder.from_pretrained(tiny(kind), template=PREFIXED)
    found = encoder.encode(TEXTS, instruction="which colour")
    expected = encoder.encode([f"which colour {text}" for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    grid = encoder.encode_grid(TEXTS, ["which colour", "what shape", None])
    np.testing.assert_allclose(grid[0], expected, atol=1e-5)
    np.testing.assert_allclose(grid[2], encoder.encode(TEXTS), atol=1e-5)
    assert np.abs(grid[1] - grid[0]).max() > 1e-2


def test_the_end_of_a_long_text_is_cut_and_never_the_prefix() -> None:
    """[CLS], two words of the instruction, five of the text, [SEP]."""
    encoder = InstructEncoder.from_pretrained(tiny(), template=PREFIXED, max_tokens=9)
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        cut = encoder.encode(["red green blue round ball cube"], instruction="which colour")
    whole = encoder.encode(["red green blue round ball"], instruction="which colour")
    np.testing.assert_allclose(cut, whole, atol=1e-6)
    with pytest.raises(InstructionError, match="leave no room"):
        encoder.encode(["red"], instruction="which colour " * 4)


def test_templates_keep_embeddings_apart() -> None:
    plain = InstructEncoder.from_pretrained(tiny())
    prefixed = plain.with_options(template=PREFIXED)
    assert plain.record(instruction="query:") != prefixed.record(instruction="query:")
    assert plain.record() == prefixed.record()
    assert not np.allclose(
        plain.encode(TEXTS, instruction="red"), prefixed.encode(TEXTS, instruction="red"), atol=0.01
    )


def test_a_checkpoint_keeps_the_template_it_was_trained_with() -> None:
    encoder = InstructEncoder.from_pretrained(tiny_checkpoint(), template=PREFIXED)
    with pytest.raises(ConfigError, match="trained with a template of its own"):
        encoder.encode(TEXTS)
