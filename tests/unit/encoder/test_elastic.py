"""Fewer layers, fewer dimensions, smaller numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.precision import binary_search, float_rows
from instruct_embeddings.errors import ConfigError
from tests.models import INSTRUCTION, TEXTS
from tests.unit.encoder.conftest import CAUSAL, POOLINGS, Shelf, unit

BOTH = pytest.mark.parametrize("instruction", [None, INSTRUCTION])


def unit_rows(rows: FloatArray) -> FloatArray:
    found: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def test_the_first_layer_alone_gives_its_own_hidden_states(shelf: Shelf) -> None:
    """As transformers lists them for BERT: the mean of hidden_states[1]."""
    encoder, raw = shelf.encoder("bert").with_options(truncate_layers=1), shelf.raw("bert")
    for text, found in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        ids = torch.tensor([shelf.ids("bert", text, "")[:-1]])
        states = raw(input_ids=ids, output_hidden_states=True).hidden_states[1][0]
        np.testing.assert_allclose(found, unit(states.mean(0)), atol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_fewer_layers_are_a_model_with_fewer_layers(shelf: Shelf, kind: str) -> None:
    """Whose last norm follows its last layer, as in training."""
    raw = shelf.raw(kind)
    config = AutoConfig.from_pretrained(shelf.model(kind))
    config.num_hidden_layers = 1
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    small = AutoModelForCausalLM.from_config(config).eval()
    small.load_state_dict(raw.state_dict(), strict=False)
    ids = torch.tensor([[2, 7, 11, 14, 17, 9, 8, 5, 3]])
    model, expected = Backbone(raw, causal=True), Backbone(small, causal=True)
    with torch.no_grad(), model.truncated(1):
        found = model(ids, torch.ones_like(ids))
        torch.testing.assert_close(found, expected(ids, torch.ones_like(ids)))


@BOTH
def test_all_layers_are_the_whole_model(shelf: Shelf, instruction: str | None) -> None:
    encoder = shelf.encoder("llama")
    whole = encoder.encode(TEXTS, instruction=instruction)
    two = encoder.with_options(truncate_layers=2).encode(TEXTS, instruction=instruction)
    np.testing.assert_array_equal(two, whole)
    one = encoder.with_options(truncate_layers=1).encode(TEXTS, instruction=instruction)
    assert np.abs(one - whole).max() > 1e-2
    # The options of one encoder do not show in another that shares its weights.
    again = encoder.encode(TEXTS, instruction=instruction)
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_fewer_layers_are_refined_too(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind).with_options(truncate_layers=1)
    together = encoder.encode(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    alone = [encoder.encode([x], instruction=INSTRUCTION, refine_steps=2)[0] for x in TEXTS]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    whole = shelf.encoder(kind).encode(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    assert np.abs(together - whole).max() > 1e-2


def test_more_layers_than_there_are_is_an_error(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match=r"truncate_layers=3, .* 2 layers.* from 1 to 2"):
        shelf.encoder("bert").with_options(truncate_layers=3).encode(TEXTS)


@BOTH
@pytest.mark.parametrize("pooling", POOLINGS)
def test_fewer_dimensions_are_cut_and_scaled_again(
    shelf: Shelf, pooling: str, instruction: str | None
) -> None:
    encoder = shelf.encoder("llama", pooling)
    whole = encoder.encode(TEXTS, instruction=instruction)
    cut = encoder.with_options(truncate_dim=10)
    assert cut.dimension == 10
    found = cut.encode(TEXTS, instruction=instruction)
    np.testing.assert_allclose(found, unit_rows(whole[:, :10]), atol=1e-6)


def test_embeddings_keep_their_length_where_asked_for(shelf: Shelf) -> None:
    raw = shelf.encoder("bert").with_options(normalize=False)
    found = raw.encode(TEXTS)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(unit_rows(found), shelf.encoder("bert").encode(TEXTS), atol=1e-6)
    cut = raw.with_options(truncate_dim=10).encode(TEXTS)
    np.testing.assert_array_equal(cut, found[:, :10])


def test_more_dimensions_than_there_are_is_an_error(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match=r"truncate_dim=33, .* have 32 dimensions"):
        shelf.encoder("bert").with_options(truncate_dim=33).encode(TEXTS)
    # Concatenated anchors have twice as many, generic embeddings of the same encoder have not.
    wide = shelf.encoder("llama", "dual_anchor_concat").with_options(truncate_dim=33)
    assert wide.encode(TEXTS, instruction=INSTRUCTION).shape == (6, 33)
    with pytest.raises(ConfigError, match=r"truncate_dim=33, .* have 32 dimensions"):
        wide.encode(TEXTS)


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    return unit_rows(a) @ unit_rows(b).T


@BOTH
@pytest.mark.parametrize(("precision", "dtype"), [("float16", np.float16), ("int8", np.int8)])
def test_smaller_numbers_keep_the_cosines(
    shelf: Shelf, precision: Any, dtype: Any, instruction: str | None
) -> None:
    """Rounding moves a number by at most 1/2,048 of itself, or 1/254 of the row's largest one."""
    encoder = shelf.encoder("bert")
    exact = encoder.encode(TEXTS, instruction=instruction)
    stored = encoder.with_options(precision=precision).encode(TEXTS, instruction=instruction)
    assert (stored.dtype, stored.shape) == (dtype, (6, 32))
    found = float_rows(stored, precision)
    np.testing.assert_allclose(cosines(found, found), cosines(exact, exact), atol=0.01)
    bound = {"float16": np.abs(exact) / 2048, "int8": np.abs(exact).max(1, keepdims=True) / 254}
    scale = np.abs(exact).max(1, keepdims=True) / 127 if precision == "int8" else 1
    assert (np.abs(found * scale - exact) <= bound[precision] + 1e-6).all()


@BOTH
def test_binary_embeddings_are_the_signs(shelf: Shelf, instruction: str | None) -> None:
    encoder = shelf.encoder("bert")
    exact = encoder.encode(TEXTS, instruction=instruction)
    binary = encoder.with_options(precision="binary")
    packed = binary.encode(TEXTS, instruction=instruction)
    assert (packed.dtype, packed.shape, binary.dimension) == (np.uint8, (6, 4), 32)
    np.testing.assert_array_equal(np.unpackbits(packed, axis=1), exact > 0)
    # Each text finds itself first.
    rows, _ = binary_search(exact, packed, k=1)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_batches_make_no_difference_to_smaller_numbers(shelf: Shelf, precision: Any) -> None:
    encoder = shelf.encoder("bert").with_options(precision=precision)
    one, many = encoder.with_options(batch_size=1), encoder.with_options(batch_tokens=50)
    expected = float_rows(encoder.encode(TEXTS, instruction=INSTRUCTION), precision)
    for other in (one, many):
        found = float_rows(other.encode(TEXTS, instruction=INSTRUCTION), precision)
        # One unit of int8 where rounding falls either way.
        np.testing.assert_allclose(found, expected, atol=1.01 if precision == "int8" else 1e-3)


def test_precision_follows_truncation(shelf: Shelf) -> None:
    exact = shelf.encoder("bert").encode(TEXTS)
    cut = shelf.encoder("bert").with_options(truncate_dim=16, precision="binary")
    np.testing.assert_array_equal(cut.encode(TEXTS), np.packbits(exact[:, :16] > 0, axis=1))
    with pytest.raises(ConfigError, match=r"there are 20.* multiple of 8"):
        cut.with_options(truncate_dim=20).encode(TEXTS)


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("bert", "dual_anchor"),
        ("bert", "latent_attention"),
        ("llama", "dual_anchor_gate"),
    ],
)
def test_bfloat16_comes_close_to_float32(shelf: Shelf, kind: str, pooling: str, steps: int) -> None:
    """Eight bits of mantissa; soft prompts and pooling stay in float32."""
    exact = shelf.encoder(kind, pooling)
    with exact.with_options(dtype="bfloat16") as half:
        arguments: dict[str, Any] = {"instruction": INSTRUCTION, "refine_steps": steps}
        found = half.encode(TEXTS, **arguments)
        assert found.dtype == np.float32
        model, _ = shelf.parts(half)
        assert model.backbone.body.dtype == torch.bfloat16
        assert model.soft_prompts.dtype == torch.float32
        same = (found * exact.encode(TEXTS, **arguments)).sum(1)
        assert same.min() > 0.995
        generic = (half.encode(TEXTS) * exact.encode(TEXTS)).sum(1)
        assert generic.min() > 0.995
        assert np.abs(found - exact.encode(TEXTS, **arguments)).max() > 1e-5
        grid = half.encode_grid(TEXTS, [INSTRUCTION], refine_steps=steps)[0]
        assert (grid * found).sum(1).min() > 0.995
