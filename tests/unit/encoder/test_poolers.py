import pickle
from typing import get_args

import pytest
import torch
from torch import Tensor

from instruct_embeddings.encoder.pooling import (
    Pooler,
    PoolInputs,
    dual_anchor_average,
    make_pooler,
    mean_pool,
)
from instruct_embeddings.encoder.settings import Pooling
from instruct_embeddings.errors import ConfigError

D, P = 8, 2
NAMES = get_args(Pooling)
FROM_SOFT_PROMPTS = {"soft_prompt_mean", "dual_anchor", "dual_anchor_concat", "dual_anchor_gate"}
LEARNED = {
    "dual_anchor_gate": ["gate"],
    "latent_attention": ["down", "down_bias", "latents", "up", "up_bias"],
}


def make(name: str, seed: int = 0) -> Pooler:
    return make_pooler(name, hidden_size=D, latents=5, heads=2, seed=seed)


def inputs(dtype: torch.dtype = torch.float32, p: int = P) -> PoolInputs:
    """Two rows of six and four real positions, padded on the right."""
    hidden = torch.randn(2, 6, D, generator=torch.Generator().manual_seed(1)).to(dtype)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    last = torch.tensor([5 - p, 3 - p])
    return PoolInputs(hidden, mask, last, p)


def pool(pooler: Pooler, given: PoolInputs) -> Tensor:
    result: Tensor = pooler(given)
    return result


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_pooler_gives_float32_of_its_dimension(name: str, dtype: torch.dtype) -> None:
    pooler = make(name)
    pooled = pool(pooler, inputs(dtype))
    assert pooled.dtype == torch.float32
    assert pooled.shape == (2, pooler.dimension)
    torch.testing.assert_close(pooled, pool(pooler, inputs()), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_pooler_says_the_length_of_its_result(name: str) -> None:
    pooler = make(name)
    assert pooler.dimension == (2 * D if name == "dual_anchor_concat" else D)


@pytest.mark.parametrize("name", sorted(set(NAMES) - FROM_SOFT_PROMPTS))
def test_poolers_without_need_of_soft_prompts_do_without(name: str) -> None:
    assert bool(pool(make(name), inputs(p=0)).isfinite().all())


@pytest.mark.parametrize("name", sorted(FROM_SOFT_PROMPTS))
def test_poolers_of_soft_prompts_refuse_rows_without(name: str) -> None:
    with pytest.raises(ConfigError, match="no soft prompt to pool"):
        pool(make(name), inputs(p=0))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads=3 does not divide hidden_size=8"):
        make_pooler("latent_attention", hidden_size=8, heads=3)


def test_fixed_poolers_pick_the_states_they_are_named_after() -> None:
    given = inputs()
    hidden = given.hidden
    torch.testing.assert_close(pool(make("last_token"), given)[1], hidden[1, 1])
    torch.testing.assert_close(pool(make("cls"), given)[1], hidden[1, 0])
    torch.testing.assert_close(pool(make("mean"), given)[1], hidden[1, :4].mean(0))
    torch.testing.assert_close(pool(make("soft_prompt_mean"), given)[1], hidden[1, 2:4].mean(0))
    anchors = [hidden[1, 1], hidden[1, 2:4].mean(0)]
    units = [anchor / anchor.norm() for anchor in anchors]
    torch.testing.assert_close(pool(make("dual_anchor"), given)[1], (units[0] + units[1]) / 2)
    torch.testing.assert_close(pool(make("dual_anchor_concat"), given)[1], torch.cat(units))


def test_an_untrained_gate_is_the_average_of_the_anchors() -> None:
    given = inputs()
    anchors = pool(make("last_token"), given), pool(make("soft_prompt_mean"), given)
    torch.testing.assert_close(pool(make("dual_anchor_gate"), given), dual_anchor_average(*anchors))


def test_a_trained_gate_moves_towards_one_anchor() -> None:
    pooler, given = make("dual_anchor_gate"), inputs()
    pooler.load_state_dict({"gate": torch.full((D,), 50.0)})
    primary = torch.nn.functional.normalize(pool(make("last_token"), given), dim=1)
    torch.testing.assert_close(pool(pooler, given), primary)


def test_untrained_latent_attention_is_the_mean() -> None:
    given = inputs()
    expected = mean_pool(given.hidden, given.mask)
    torch.testing.assert_close(pool(make("latent_attention"), given), expected)


def trained(name: str) -> Pooler:
    """Its parameters drawn at random, so that none is zero."""
    pooler, generator = make(name), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter.normal_(generator=generator)
    return pooler


@pytest.mark.parametrize("name", NAMES)
def test_saved_names_are_stable_and_parameters_are_float32(name: str) -> None:
    state = make(name).state_dict()
    assert sorted(state) == LEARNED.get(name, [])
    assert all(weight.dtype == torch.float32 for weight in state.values())


@pytest.mark.parametrize("name", sorted(LEARNED))
def test_every_parameter_learns_within_two_steps(name: str) -> None:
    """The first step moves the zero matrix at the end, the second all that stands before it."""
    pooler, given = make(name), inputs()
    target = torch.randn(2, D, generator=torch.Generator().manual_seed(3))
    start = {key: weight.clone() for key, weight in pooler.state_dict().items()}
    optimiser = torch.optim.SGD(pooler.parameters(), lr=0.5)
    losses = []
    for _ in range(10):
        loss = (pool(pooler, given) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if len(losses) == 2:
            moved = {key: not torch.equal(w, start[key]) for key, w in pooler.state_dict().items()}
    assert moved == dict.fromkeys(start, True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", sorted(LEARNED))
def test_gradients_reach_every_parameter_and_the_states(name: str) -> None:
    pooler, given = trained(name), inputs()
    hidden = given.hidden.clone().requires_grad_()
    pooled = pool(pooler, PoolInputs(hidden, given.mask, given.last, P))
    (pooled * torch.arange(1.0, 1 + D)).sum().backward()
    for key, parameter in pooler.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.any()), key
    assert hidden.grad is not None
    assert bool(hidden.grad.any())


def test_initial_parameters_depend_on_the_seed_alone() -> None:
    name = "latent_attention"
    torch.manual_seed(1)
    one, again, other = make(name, seed=7), make(name, seed=7), make(name, seed=8)
    same, different = again.state_dict(), other.state_dict()
    assert all(torch.equal(w, same[key]) for key, w in one.state_dict().items())
    assert not any(torch.equal(one.state_dict()[key], different[key]) for key in ("latents", "up"))


def test_building_a_pooler_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    make("latent_attention")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_poolers_survive_pickling_and_their_state_dict(name: str) -> None:
    pooler, given = trained(name), inputs()
    loaded = make(name, seed=9)
    loaded.load_state_dict(pooler.state_dict())
    expected = pool(pooler, given)
    torch.testing.assert_close(pool(loaded, given), expected)
    torch.testing.assert_close(pool(pickle.loads(pickle.dumps(pooler)), given), expected)
