"""The module as a whole against hand computation: row by row, plain transformers, no padding."""

import copy
import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import SETTINGS_FILE
from instruct_embeddings.encoder.template import TokenBatch, collate
from instruct_embeddings.errors import TruncationWarning
from tests.models import INSTRUCTION, TEXTS
from tests.unit.encoder.conftest import CAUSAL, KINDS, POOLINGS, Shelf, unit

P = 3
ROWS = [[2, 7, 11, 14, 17, 3, 24, 3], [2, 3, 24, 3], [2, 9, 3, 24, 3]]


def layers_by_hand(shelf: Shelf, kind: str, ids: list[int], soft: Tensor) -> Tensor:
    """States of all layers of one row with soft prompts at its end, shape (l, t + p, d)."""
    raw = shelf.raw(kind)
    embeds = torch.cat([raw.get_input_embeddings()(torch.tensor(ids)), soft])
    return torch.cat(raw(inputs_embeds=embeds[None], output_hidden_states=True).hidden_states[1:])


# From the states of the last layer (t + p, d), t and p known, to an embedding.
BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    "last_token": lambda states: states[-P - 1],
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "soft_prompt_mean": lambda states: states[-P:].mean(0),
    "dual_anchor": lambda states: (unit(states[-P - 1]) + unit(states[-P:].mean(0))) / 2,
    "dual_anchor_concat": lambda states: torch.cat(
        [unit(states[-P - 1]), unit(states[-P:].mean(0))]
    ),
}


@pytest.mark.parametrize("pooling", BY_HAND)
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_pooling_equals_hand_computation(shelf: Shelf, kind: str, pooling: str) -> None:
    encoder = shelf.encoder(kind, pooling)
    soft = shelf.soft_prompts(shelf.checkpoint(kind, pooling))
    with torch.no_grad():
        expected = [
            BY_HAND[pooling](
                layers_by_hand(shelf, kind, shelf.ids(kind, text, INSTRUCTION), soft)[-1]
            )
            for text in TEXTS
        ]
    found = encoder.encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(found, unit(torch.stack(expected)), atol=1e-5)
    assert encoder.dimension == found.shape[1] == len(expected[0])


@pytest.mark.parametrize("kind", KINDS)
def test_dual_anchor_pooling_equals_hand_computation_for_every_architecture(
    shelf: Shelf, kind: str
) -> None:
    soft = shelf.soft_prompts(shelf.checkpoint(kind))
    expected = []
    for text in TEXTS:
        ids = shelf.ids(kind, text, INSTRUCTION)
        with torch.no_grad():
            states = layers_by_hand(shelf, kind, ids, soft)[-1]
        primary, complementary = states[len(ids) - 1], states[len(ids) :].mean(0)
        expected.append(unit(unit(primary) + unit(complementary)))
    found = shelf.encoder(kind).encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5)
    similar = found @ found.T - np.eye(len(TEXTS))
    assert similar.max() < 0.9999


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_generic_embeddings_are_the_plain_models_own(shelf: Shelf, kind: str) -> None:
    """Mean over all tokens, special ones included; no soft prompts, no learned pooling."""
    encoder, raw = shelf.encoder(kind, "latent_attention"), shelf.raw(kind)
    for text, found in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        ids = shelf.ids(kind, text, "")
        row = ids or [3]  # the end token stands for an empty row
        if kind == "bert":
            row = ids[:-1]
        states = raw(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[-1]
        np.testing.assert_allclose(found, unit(states[0].mean(0)), atol=1e-5)


def test_a_checkpoint_for_short_rows_cuts_instructed_texts_alone(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Trained on 12 tokens over a backbone that reads 100."""
    saved = shelf.checkpoint("bert")
    shutil.copytree(saved, tmp_path / "short")
    settings = json.loads((saved / SETTINGS_FILE).read_text(encoding="utf-8"))
    written = json.dumps(settings | {"max_tokens": 12})
    (tmp_path / "short" / SETTINGS_FILE).write_text(written, encoding="utf-8")
    long, encoder = "red ball blue cube " * 5, shelf.encoder("bert")
    with InstructEncoder.from_pretrained(tmp_path / "short", device="cpu") as short:
        np.testing.assert_allclose(short.encode([long]), encoder.encode([long]), atol=1e-6)
        with pytest.warns(TruncationWarning, match="1 of 1 texts are longer than the 4 tokens"):
            cut = short.encode([long], instruction="what shape")
    np.testing.assert_allclose(
        cut, encoder.encode(["red ball blue cube"], instruction="what shape"), atol=1e-5
    )


def module(shelf: Shelf, kind: str, pooling: str = "dual_anchor", seed: int = 0) -> InstEmb:
    """A fresh one that may be trained; its backbone is a copy."""
    settings = EncoderSettings("any", soft_prompts=P, pooling=pooling, latents=4, heads=2)  # type: ignore[arg-type]
    raw = copy.deepcopy(shelf.raw(kind)).requires_grad_(True)
    return InstEmb(Backbone(raw, causal=kind in CAUSAL), settings, seed=seed)


def batch_of(rows: list[list[int]], side: Side = "right") -> TokenBatch:
    return collate(rows, soft_prompts=P, pad_id=0, side=side)


def test_soft_prompts_start_as_embeddings_of_tokens_drawn_by_the_seed(shelf: Shelf) -> None:
    model = module(shelf, "bert")
    table = model.backbone.body.get_input_embeddings().weight
    distances = torch.cdist(model.soft_prompts, table)
    assert model.soft_prompts.shape == (P, 32)
    assert distances.min(1).values.max() < 1e-3
    same, other = module(shelf, "bert"), module(shelf, "bert", seed=1)
    assert torch.equal(same.soft_prompts, model.soft_prompts)
    assert not torch.equal(other.soft_prompts, model.soft_prompts)


@pytest.mark.parametrize("side", ["left", "right"])
def test_soft_prompts_stand_behind_each_row(shelf: Shelf, side: Side) -> None:
    model, batch = module(shelf, "bert"), batch_of(ROWS, side)
    found, plain = model.embed_inputs(batch), model.backbone.embed(batch.ids)
    for row, ids in enumerate(ROWS):
        (real,) = batch.mask[row].nonzero(as_tuple=True)
        assert torch.equal(found[row, real[len(ids) :]], model.soft_prompts)
        assert torch.equal(found[row, real[: len(ids)]], plain[row, real[: len(ids)]])
        assert torch.equal(found[row, batch.mask[row] == 0], plain[row, batch.mask[row] == 0])


def test_a_checkpoint_holds_soft_prompts_and_pooler_alone(shelf: Shelf) -> None:
    assert set(module(shelf, "bert").own_parameters()) == {"soft_prompts"}
    gate = module(shelf, "bert", "dual_anchor_gate").own_parameters()
    assert {name: tuple(value.shape) for name, value in gate.items()} == {
        "soft_prompts": (P, 32),
        "pooler.gate": (32,),
    }


def weighted(embeddings: Tensor) -> Tensor:
    """Some number that depends on all of them."""
    weights = torch.arange(embeddings.numel(), dtype=torch.float32).reshape(embeddings.shape).cos()
    return (embeddings * weights).sum()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_everything_that_is_trained(shelf: Shelf, pooling: str) -> None:
    model = module(shelf, "llama", pooling)
    with torch.no_grad():
        for parameter in model.pooler.parameters():
            parameter += 0.1  # zeros would stop gradients on their way
    weighted(model(batch_of(ROWS))).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        if "lm_head" in name or (pooling in ("cls", "last_token") and name == "soft_prompts"):
            continue  # a causal model reads neither before the position that is pooled
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("bert", "right"),  # which counts positions from the left edge
        *product(("llama", "mistral", "gemma2", "gpt2"), ("left", "right")),
    ],
)
def test_gradients_through_refinement_are_those_of_the_plain_loop(
    shelf: Shelf, kind: str, side: Side
) -> None:
    """The cache of a causal model holds the gradient as reading everything again does."""
    model = module(shelf, kind)
    embeddings = model(batch_of(ROWS, side), refine_steps=2)
    assert embeddings.shape == (2, 3, 32)
    weighted(embeddings).backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    expected = torch.stack([naive_steps(model, row) for row in ROWS], dim=1)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-4)
    weighted(expected).backward()  # type: ignore[no-untyped-call]
    assert model.soft_prompts.grad is not None
    assert model.soft_prompts.grad.abs().min() > 0
    for name, parameter in model.named_parameters():
        wanted, grad = parameter.grad, found[name]
        if wanted is None or grad is None:
            assert wanted is grad, name
            continue
        if parameter is model.backbone.body.get_input_embeddings().weight:
            # Looking the padding token up gives it no gradient, softmax(logits) E does.
            wanted, grad = wanted[1:], grad[1:]
        scale = float(wanted.abs().max())
        torch.testing.assert_close(grad, wanted, atol=1e-4 * scale + 1e-6, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("side", ["left", "right"])
def test_refinement_is_the_same_under_gradient_checkpointing(shelf: Shelf, side: Side) -> None:
    """Layers that are computed again in training keep no keys and values."""
    model, batch = module(shelf, "mistral").train(), batch_of(ROWS, side)
    expected = model(batch, refine_steps=2)
    model.backbone.body.gradient_checkpointing_enable()
    found = model(batch, refine_steps=2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    weighted(found).backward()  # type: ignore[no-untyped-call]
    assert model.soft_prompts.grad is not None
    assert model.soft_prompts.grad.abs().min() > 0


def naive_steps(model: InstEmb, ids: list[int]) -> Tensor:
    """Means of the states after one and two soft tokens of one row, shape (2, d)."""
    raw = model.backbone.model
    embed = raw.get_input_embeddings()
    table = embed(torch.arange(embed.num_embeddings))
    sequence, states = torch.cat([embed(torch.tensor(ids)), model.soft_prompts]), []
    for _ in range(3):
        out = raw(inputs_embeds=sequence[None], output_hidden_states=True)
        states.append(out.hidden_states[-1][0, -1])
        logits = out.logits[0, -1] if model.backbone.causal else table @ states[-1]
        sequence = torch.cat([sequence, (logits.softmax(0) @ table)[None]])
    return torch.stack([states[1], (states[1] + states[2]) / 2])
