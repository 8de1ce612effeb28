from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertModel,
    DynamicCache,
    OPTConfig,
    OPTModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.template import collate
from instruct_embeddings.errors import ConfigError
from tests.unit.encoder.conftest import BIDIRECTIONAL, CAUSAL, KINDS, Shelf

ROWS = [[2, 7, 11, 14, 17, 9, 8, 5, 3], [2, 24, 3], [12]]
PAD = 0


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


def backbone(shelf: Shelf, kind: str) -> Backbone:
    return Backbone(shelf.raw(kind), causal=kind in CAUSAL)


def one_by_one(model: PreTrainedModel) -> list[Tensor]:
    """States of every layer as transformers itself gives them without padding, (l, t, d) each."""
    found = [
        model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[1:]
        for row in ROWS
    ]
    return [torch.cat(layers) for layers in found]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_the_plain_model_without_padding(
    shelf: Shelf, kind: str, side: Side
) -> None:
    model = backbone(shelf, kind)
    if model.needs_right_padding:
        side = "right"
    batch = collate(ROWS, soft_prompts=0, pad_id=PAD, side=side)
    found = model(batch.ids, batch.mask)
    assert model.depth == 2
    assert found.shape[-1] == model.hidden_size == 32
    for row, expected in enumerate(one_by_one(shelf.raw(kind))):
        real = batch.mask[row].bool()
        torch.testing.assert_close(found[row, real], expected[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids_and_their_embeddings_give_the_same(shelf: Shelf, kind: str) -> None:
    model = backbone(shelf, kind)
    batch = collate(ROWS, soft_prompts=0, pad_id=PAD, side="right")
    by_id = model(batch.ids, batch.mask)
    by_embedding = model(model.embed(batch.ids), batch.mask)
    real = batch.mask.bool()
    torch.testing.assert_close(by_id[real], by_embedding[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_cache_continues_where_it_ends(shelf: Shelf, kind: str) -> None:
    model = backbone(shelf, kind)
    batch = collate(ROWS, soft_prompts=0, pad_id=PAD, side="left")
    cache, whole = DynamicCache(), model(batch.ids, batch.mask)
    model(batch.ids[:, :4], batch.mask[:, :4], cache=cache)
    model(batch.ids[:, 4:8], batch.mask[:, :8], cache=cache)
    last = model(batch.ids[:, 8:], batch.mask, cache=cache)
    torch.testing.assert_close(last, whole[:, 8:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_soft_token_mixes_all_embeddings_by_the_chances_of_the_next_token(
    shelf: Shelf, kind: str, temperature: float
) -> None:
    """The model's own logits: Gemma 2 bounds them, and Gemma scales its embeddings."""
    model, raw = backbone(shelf, kind), shelf.raw(kind)
    ids = torch.tensor([ROWS[0]])
    chances = (raw(input_ids=ids).logits[:, -1] / temperature).softmax(-1)
    table = raw.get_input_embeddings()(torch.arange(chances.shape[1]))
    found = model.soft_token(model(ids, torch.ones_like(ids))[:, -1], temperature)
    torch.testing.assert_close(found, chances @ table, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "gemma"])
def test_a_cold_soft_token_is_the_likeliest_token(shelf: Shelf, kind: str) -> None:
    model = backbone(shelf, kind)
    ids = torch.tensor([ROWS[0]])
    hidden = model(ids, torch.ones_like(ids))[:, -1]
    table = model.embed(torch.arange(len(model.body.get_input_embeddings().weight)))
    likeliest = (hidden @ table.T).argmax()
    torch.testing.assert_close(model.soft_token(hidden, 1e-4)[0], table[likeliest])


def test_layers_are_cut_within_a_context_only(shelf: Shelf) -> None:
    model = backbone(shelf, "llama")
    ids = torch.tensor([ROWS[0]])

    def layers() -> int:
        out = model.body(input_ids=ids, output_hidden_states=True)
        return len(out.hidden_states) - 1

    with model.truncated(1):
        assert layers() == 1
    assert layers() == 2
    with pytest.raises(KeyError), model.truncated(1):
        raise KeyError
    assert layers() == 2
    for all_of_them in (None, 2):
        with model.truncated(all_of_them):
            assert layers() == 2
    with (
        pytest.raises(ConfigError, match=r"truncate_layers=3, .* has 2 layers.* from 1 to 2"),
        model.truncated(3),
    ):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_models_count_positions_themselves_from_the_left_edge(
    shelf: Shelf, kind: str
) -> None:
    counts = kind in BIDIRECTIONAL or kind == "bloom"
    assert backbone(shelf, kind).needs_right_padding == counts


@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_a_model_without_an_adapter_has_none_to_switch_off(shelf: Shelf, kind: str) -> None:
    model = backbone(shelf, kind)
    batch = collate(ROWS, soft_prompts=0, pad_id=PAD, side="right")
    with model.without_adapter():
        inside = model(batch.ids, batch.mask)
    torch.testing.assert_close(inside, model(batch.ids, batch.mask))


def test_a_model_whose_layers_are_not_in_a_list_is_read_and_not_cut() -> None:
    """ALBERT has one layer and runs it again and again, on widened input embeddings."""
    config = AlbertConfig(vocab_size=30, embedding_size=4, hidden_size=8, num_attention_heads=1)
    config.num_hidden_layers = 3
    raw = AlbertModel(config).eval()
    model = Backbone(raw, causal=False)
    assert (model.depth, model.input_size, model.hidden_size) == (3, 4, 8)
    ids = torch.tensor([ROWS[0]])
    found = model(ids, torch.ones_like(ids))
    torch.testing.assert_close(found, raw(input_ids=ids).last_hidden_state)
    with pytest.raises(ConfigError, match=r"AlbertModel has no list of 3 layers .* be cut"):
        model.truncated(2).__enter__()
    with pytest.raises(ConfigError, match=r"of 4 dimensions and hidden states of 8"):
        model.soft_token(found[:, -1], 1.0)


@pytest.mark.parametrize(
    ("kind", "most"),
    [("bert", 128), ("roberta", 127), ("mpnet", 126), ("distilbert", 128), ("gpt2", 128)],
)
def test_positions_are_counted_by_the_model_itself(shelf: Shelf, kind: str, most: int) -> None:
    assert backbone(shelf, kind).positions == most


@pytest.mark.parametrize("kind", ["modernbert", "llama", "bloom", "gemma"])
def test_computed_positions_have_no_end(shelf: Shelf, kind: str) -> None:
    assert backbone(shelf, kind).positions is None


def test_a_causal_model_is_told_positions_from_where_it_would_begin_itself() -> None:
    """OPT keeps two rows for itself, and adds them; RoBERTa as a decoder wants them added."""
    ids = torch.tensor([[7, 11, 14]])
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    opt = OPTModel(OPTConfig(**sizes, ffn_dim=8, word_embed_proj_dim=8, max_position_embeddings=20))
    roberta = RobertaModel(
        RobertaConfig(
            **sizes,
            intermediate_size=8,
            max_position_embeddings=20,
            pad_token_id=1,
            is_decoder=True,
        )
    )
    for raw, most in ((opt, 20), (roberta, 18)):
        model = Backbone(raw.eval(), causal=True)
        assert model.positions == most
        expected = raw(input_ids=ids).last_hidden_state
        torch.testing.assert_close(model(ids, torch.ones_like(ids)), expected)
