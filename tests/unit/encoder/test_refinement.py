"""Generated soft tokens against a loop written from the formula of GIRCSE, section 3.1."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.model import generate, pad_left, refinement_pool
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.settings import RefinementSettings
from instruct_embeddings.errors import ConfigError
from tests.models import INSTRUCTION
from tests.unit.encoder.conftest import BIDIRECTIONAL, CAUSAL, Shelf, unit

STEPS = 3
TEXTS = ["the red ball sits on the table", "", "a cube"]


def naive_states(
    raw: PreTrainedModel, ids: list[int], soft: Tensor, temperature: float, *, tied: bool
) -> Tensor:
    """States of the generated positions of one row, shape (s, d).

    The whole sequence is read again in each step: no cache, no batch, no padding, no mask.
    """
    embed = raw.get_input_embeddings()
    table = embed(torch.arange(embed.num_embeddings))
    sequence, states = torch.cat([embed(torch.tensor(ids)), soft]), []
    for step in range(STEPS + 1):
        out = raw(inputs_embeds=sequence[None], output_hidden_states=True)
        final = out.hidden_states[-1][0, -1]
        if step:
            states.append(final)
        logits = table @ final if tied else out.logits[0, -1]
        soft_token = torch.softmax(logits / temperature, dim=0) @ table
        sequence = torch.cat([sequence, soft_token[None]])
    return torch.stack(states)


def naive_steps(
    shelf: Shelf, kind: str, encoder: InstructEncoder, *, temperature: float = 1.0, tied: bool
) -> Tensor:
    """States of the generated positions for all texts, shape (s, n, d)."""
    soft = shelf.soft_prompts(encoder.source.model.path)
    rows = [
        naive_states(
            shelf.raw(kind), shelf.ids(kind, text, INSTRUCTION), soft, temperature, tied=tied
        )
        for text in TEXTS
    ]
    return torch.stack(rows, dim=1)


def assert_steps_agree(encoder: InstructEncoder, expected: Tensor) -> None:
    """On either side of padding, for each number of steps; texts must differ to prove anything."""
    expected = unit(expected)
    for side in ("left", "right"):
        other = encoder.with_options(padding_side=side)
        steps = other.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=STEPS)
        np.testing.assert_allclose(steps, expected, atol=1e-5)
    fewer = encoder.encode(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    np.testing.assert_allclose(fewer, expected[1], atol=1e-5)
    similar = expected[-1] @ expected[-1].T - torch.eye(len(TEXTS))
    assert similar.max() < 0.9999


@pytest.mark.parametrize(
    ("kind", "soft_prompts"), [*((kind, 3) for kind in CAUSAL), ("llama", 0), ("gemma2", 0)]
)
def test_a_causal_model_generates_what_the_formula_says(
    shelf: Shelf, kind: str, soft_prompts: int
) -> None:
    pooling = "dual_anchor" if soft_prompts else "last_token"
    encoder = shelf.encoder(kind, pooling, soft_prompts=soft_prompts)
    with torch.no_grad():
        states = naive_steps(shelf, kind, encoder, tied=False)
    counts = torch.arange(1, STEPS + 1)[:, None, None]
    assert_steps_agree(encoder, states.cumsum(0) / counts)


@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_a_bidirectional_model_generates_with_its_embeddings_as_head(
    shelf: Shelf, kind: str
) -> None:
    encoder = shelf.encoder(kind)
    with torch.no_grad():
        states = naive_steps(shelf, kind, encoder, tied=True)
    counts = torch.arange(1, STEPS + 1)[:, None, None]
    assert_steps_agree(encoder, states.cumsum(0) / counts)


@pytest.mark.parametrize("kind", ["llama", "mistral", "bert"])
def test_the_last_position_alone_may_be_the_embedding(shelf: Shelf, kind: str) -> None:
    encoder = shelf.encoder(kind, pooling="last")
    with torch.no_grad():
        states = naive_steps(shelf, kind, encoder, tied=kind == "bert")
    assert_steps_agree(encoder, states)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
@pytest.mark.parametrize("kind", ["llama", "gemma2", "bert"])
def test_the_temperature_divides_the_logits(shelf: Shelf, kind: str, temperature: float) -> None:
    encoder = shelf.encoder(kind, pooling="last", temperature=temperature)
    with torch.no_grad():
        states = naive_steps(shelf, kind, encoder, temperature=temperature, tied=kind == "bert")
    assert_steps_agree(encoder, states)
    plain = shelf.encoder(kind, pooling="last")
    found, other = (
        one.encode(TEXTS, instruction=INSTRUCTION, refine_steps=STEPS) for one in (encoder, plain)
    )
    assert np.abs(found - other).max() > 1e-2


def test_a_checkpoint_says_how_many_steps_there_are(shelf: Shelf) -> None:
    encoder = shelf.encoder("llama", steps=2)
    two = encoder.encode(TEXTS, instruction=INSTRUCTION)
    steps = encoder.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=2)
    np.testing.assert_allclose(two, steps[-1], atol=1e-5)
    off = encoder.encode(TEXTS, instruction=INSTRUCTION, refine_steps=0)
    plain = shelf.encoder("llama").encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(off, plain, atol=1e-6)
    by_option = encoder.with_options(refine_steps=1).encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(by_option, steps[0], atol=1e-5)
    # Generic embeddings are the backbone's own.
    generic = shelf.encoder("llama").encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS), generic, atol=1e-6)


def test_generic_embeddings_are_never_refined(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match="refine_steps=2 without an instruction"):
        shelf.encoder("llama").encode(TEXTS, refine_steps=2)


def test_padding_is_turned_to_the_left() -> None:
    ids = torch.tensor([[7, 8, 0, 0], [0, 0, 5, 6], [1, 2, 3, 4], [0, 9, 0, 0]])
    turned, mask = pad_left(ids, (ids > 0).long())
    assert turned.tolist() == [[0, 0, 7, 8], [0, 0, 5, 6], [1, 2, 3, 4], [0, 0, 0, 9]]
    assert mask.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]]
    embeds, _ = pad_left(ids[..., None].expand(-1, -1, 3), (ids > 0).long())
    assert embeds[..., 2].tolist() == turned.tolist()


def test_embeddings_after_each_step_are_running_means_or_the_newest_state() -> None:
    """Two rows, three steps, one dimension."""
    generated = torch.tensor([[[3.0], [5.0], [10.0]], [[0.0], [2.0], [1.0]]])
    assert refinement_pool(generated, "mean")[..., 0].tolist() == [[3, 0], [4, 1], [6, 1]]
    assert refinement_pool(generated, "last")[..., 0].tolist() == [[3, 0], [5, 2], [10, 1]]
    assert refinement_pool(generated.bfloat16(), "mean").dtype == torch.float32


class _Counter(torch.nn.Module):
    """A backbone of one dimension: a state is the sum up to its position; a soft token adds 1."""

    can_cache = False

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return (inputs * mask[..., None]).cumsum(1)

    def soft_token(self, hidden: Tensor, temperature: float) -> Tensor:
        return torch.ones_like(hidden) * temperature


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    side=st.sampled_from(["left", "right"]),
    steps=st.integers(1, 4),
)
def test_soft_tokens_follow_each_row_at_its_own_end(
    lengths: list[int], side: Side, steps: int
) -> None:
    """Rows of ones: the generated states count on from the row's length, in halves."""
    longest = max(lengths)
    columns = torch.arange(longest)
    if side == "right":
        mask = torch.stack([columns < length for length in lengths]).long()
    else:
        mask = torch.stack([columns >= longest - length for length in lengths]).long()
    settings = RefinementSettings(temperature=0.5)
    fake: Backbone = _Counter()  # type: ignore[assignment]
    found: FloatArray = generate(fake, torch.ones(*mask.shape, 1), mask, steps, settings).numpy()
    expected = [[length + 0.5 * (step + 1) for step in range(steps)] for length in lengths]
    np.testing.assert_allclose(found[..., 0], expected)


@pytest.mark.parametrize(("kind", "larger"), [("llama", True), ("bert", False)])
def test_steps_behind_a_cache_run_in_larger_batches(shelf: Shelf, kind: str, larger: bool) -> None:
    """They cost as much for few rows as for many; where all is read anew, they do not."""
    sizes: dict[int, list[int]] = {0: [], 2: []}
    for steps, found in sizes.items():
        shelf.encoder(kind).encode(
            TEXTS[:1] * 400, instruction=INSTRUCTION, refine_steps=steps, on_batch=found.append
        )
    assert [sum(found) for found in sizes.values()] == [400, 400]
    assert (max(sizes[2]) > 2 * max(sizes[0])) is larger
