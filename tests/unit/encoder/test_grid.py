import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForCausalLM

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.source import SETTINGS_FILE
from instruct_embeddings.errors import ConfigError, TruncationWarning
from tests.models import INSTRUCTION, TEXTS, WORDS, quiet
from tests.unit.encoder.conftest import POOLINGS, Shelf

OTHER = "what shape of ball"
# With 20 tokens: longer than the room under either instruction, under one, under none.
LONG = [" ".join(WORDS[start : start + count]) for start, count in ((0, 25), (3, 14), (7, 12))]
BOTH = pytest.mark.parametrize("kind", ["bert", "llama"])
# Of peft's own making, with the transformers release that renamed what it asks for.
OLD_NAME = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")


def separately(
    encoder: InstructEncoder, texts: list[str], instructions: list[str | None], **options: Any
) -> FloatArray:
    return np.stack([encoder.encode(texts, instruction=one, **options) for one in instructions])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_sees_text_and_instruction_in_a_grid(shelf: Shelf, pooling: str) -> None:
    encoder = shelf.encoder("llama", pooling)
    expected = separately(encoder, TEXTS, [INSTRUCTION, OTHER])
    found = encoder.encode_grid(TEXTS, [INSTRUCTION, OTHER])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@BOTH
def test_none_among_the_instructions_asks_for_generic_embeddings(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind)
    instructions = [None, INSTRUCTION, None, OTHER]
    found = encoder.encode_grid(TEXTS, instructions)
    np.testing.assert_allclose(found, separately(encoder, TEXTS, instructions), atol=1e-5)
    # Generic embeddings are not refined.
    refined = encoder.encode_grid(TEXTS, instructions, refine_steps=2)
    np.testing.assert_allclose(refined[[0, 2]], found[[0, 2]], atol=1e-5)
    assert np.abs(refined[[1, 3]] - found[[1, 3]]).max() > 1e-2
    only = encoder.encode_grid(TEXTS, [None])
    np.testing.assert_allclose(only, found[:1], atol=1e-5)


def test_generic_embeddings_of_another_length_do_not_fit_in(shelf: Shelf) -> None:
    encoder = shelf.encoder("llama", "dual_anchor_concat")
    assert encoder.encode_grid(TEXTS, [INSTRUCTION]).shape == (1, 6, 64)
    with pytest.raises(ConfigError, match=r"other dimensions, \[32, 64\].* Leave None out"):
        encoder.encode_grid(TEXTS, [INSTRUCTION, None])
    # Refinement pools generated positions, of the plain length.
    assert encoder.encode_grid(TEXTS, [INSTRUCTION, None], refine_steps=1).shape == (2, 6, 32)


@BOTH
@pytest.mark.parametrize("steps", [0, 2])
def test_a_text_is_cut_as_each_instruction_asks_for(shelf: Shelf, kind: str, steps: int) -> None:
    """The longer instruction leaves less room, for its own embeddings only; one warning."""
    encoder = shelf.encoder(kind).with_options(max_tokens=20)
    texts, instructions = [*LONG, "a cube", ""], [INSTRUCTION, OTHER, "colour"]
    with pytest.warns(TruncationWarning) as separate:
        expected = separately(encoder, texts, list(instructions), refine_steps=steps)
    with pytest.warns(TruncationWarning) as caught:
        found = encoder.encode_grid(texts, instructions, refine_steps=steps)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(separate) > len(caught) == 1
    room = {"bert": 10, "llama": 13}[kind] - steps
    cut = sum(len(text.split()) > room for text in texts)
    assert f"{cut} of 5 texts are longer than the {room} tokens" in str(caught[0].message)


@BOTH
@pytest.mark.parametrize("steps", [0, 2])
def test_an_instruction_in_front_of_the_text_is_read_with_each_text(
    shelf: Shelf, kind: str, steps: int, tmp_path: Path
) -> None:
    """Nothing can be shared; the text is still all that is cut."""
    saved = shelf.checkpoint(kind)
    shutil.copytree(saved, tmp_path / "first")
    settings = json.loads((saved / SETTINGS_FILE).read_text(encoding="utf-8"))
    settings["template"] |= {"between": " ", "pair": False, "instruction_first": True}
    (tmp_path / "first" / SETTINGS_FILE).write_text(json.dumps(settings), encoding="utf-8")
    with InstructEncoder.from_pretrained(tmp_path / "first", device="cpu") as encoder:
        expected = separately(encoder, TEXTS, [INSTRUCTION, None, OTHER])
        found = encoder.encode_grid(TEXTS, [INSTRUCTION, None, OTHER])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found[1], shelf.encoder(kind).encode(TEXTS), atol=1e-6)
        turned = shelf.encoder(kind).encode(TEXTS, instruction=INSTRUCTION)
        assert np.abs(found[0] - turned).max() > 1e-2
        short = encoder.with_options(max_tokens=20)
        with pytest.warns(TruncationWarning):
            cut = short.encode(LONG[:1], instruction=INSTRUCTION, refine_steps=steps)
        room = 20 - 4 - 3 - steps - (2 if kind == "bert" else 0)
        kept = " ".join(LONG[0].split()[:room])
        whole = encoder.encode([kept], instruction=INSTRUCTION, refine_steps=steps)
        np.testing.assert_allclose(cut, whole, atol=1e-5)


@BOTH
def test_an_empty_grid_has_the_right_shape(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind)
    assert encoder.encode_grid([], [INSTRUCTION, None]).shape == (2, 0, 32)
    assert encoder.encode_grid(TEXTS, []).shape == (0, 6, 32)
    assert encoder.encode_grid([], []).shape == (0, 0, 32)


@BOTH
def test_empty_texts_alone_make_a_grid(shelf: Shelf, kind: str) -> None:
    """Under a causal model without special tokens there is nothing to read before the end."""
    encoder = shelf.encoder(kind)
    expected = separately(encoder, ["", ""], [INSTRUCTION, OTHER])
    found = encoder.encode_grid(["", ""], [INSTRUCTION, OTHER])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_grid_refines_as_the_checkpoint_says(shelf: Shelf, pooling: str) -> None:
    encoder = shelf.encoder("llama", pooling=pooling, steps=2)
    expected = separately(encoder, TEXTS, [INSTRUCTION, OTHER], refine_steps=2)
    found = encoder.encode_grid(TEXTS, [INSTRUCTION, OTHER])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@BOTH
def test_a_grid_is_shaped_by_the_options(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind, "dual_anchor_gate")
    for options in (
        {"truncate_layers": 1},
        {"truncate_dim": 8},
        {"precision": "float16"},
        {"precision": "binary", "truncate_dim": 16},
        {"normalize": False},
    ):
        other = encoder.with_options(**options)
        expected = separately(other, TEXTS, [INSTRUCTION, OTHER])
        found = other.encode_grid(TEXTS, [INSTRUCTION, OTHER])
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-3 if "precision" in options else 1e-4)


@BOTH
def test_progress_counts_pairs_of_text_and_instruction(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind).with_options(batch_tokens=60)
    out = np.empty((2, len(TEXTS), 32), dtype=np.float32)
    runner = encoder._running()
    done = list(runner.embed_grid(TEXTS, [INSTRUCTION, OTHER], 0, out))
    assert sum(done) == 2 * len(TEXTS)
    assert len(done) > 1


def lora(shelf: Shelf, kind: str, folder: Path) -> Path:
    """A saved adapter; its matrices are random, as if it had been trained."""
    auto = AutoModelForCausalLM if kind == "llama" else AutoModel
    targets = {"llama": ["q_proj", "v_proj"], "bert": ["query", "value"]}[kind]
    with quiet():
        model = auto.from_pretrained(shelf.model(kind))
    config = LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder)
    return folder


@OLD_NAME
@BOTH
def test_an_adapter_serves_instructions_alone(shelf: Shelf, kind: str, tmp_path: Path) -> None:
    adapter = lora(shelf, kind, tmp_path / "adapter")
    plain = shelf.encoder(kind)
    with plain.with_options(adapter=str(adapter)) as adapted:
        # Twice: the adapter is switched off for generic embeddings, and on again.
        for _ in range(2):
            np.testing.assert_allclose(adapted.encode(TEXTS), plain.encode(TEXTS), atol=1e-6)
            found = adapted.encode(TEXTS, instruction=INSTRUCTION)
            other = plain.encode(TEXTS, instruction=INSTRUCTION)
            assert np.abs(found - other).max() > 1e-2
        for steps in (0, 2):
            grid = adapted.encode_grid(TEXTS, [INSTRUCTION, None], refine_steps=steps)
            alone = adapted.encode(TEXTS, instruction=INSTRUCTION, refine_steps=steps)
            np.testing.assert_allclose(grid[0], alone, atol=1e-5)
            np.testing.assert_allclose(grid[1], plain.encode(TEXTS), atol=1e-6)
        # The two do not share a place in memory or in a cache.
        assert adapted.fingerprint(instruction="x") != plain.fingerprint(instruction="x")
        assert adapted.fingerprint() == plain.fingerprint()


@OLD_NAME
@BOTH
@pytest.mark.parametrize("backbone", [False, True])
def test_an_adapter_is_saved_with_its_encoder(
    shelf: Shelf, kind: str, backbone: bool, tmp_path: Path
) -> None:
    adapter = lora(shelf, kind, tmp_path / "adapter")
    with shelf.encoder(kind).with_options(adapter=str(adapter)) as adapted:
        adapted.save_pretrained(tmp_path / "saved", backbone=backbone)
        expected = adapted.encode_grid(TEXTS, [INSTRUCTION, None])
    with InstructEncoder.from_pretrained(tmp_path / "saved", device="cpu") as loaded:
        found = loaded.encode_grid(TEXTS, [INSTRUCTION, None])
    np.testing.assert_allclose(found, expected, atol=1e-5)
