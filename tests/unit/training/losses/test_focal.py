import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import focal_weights, info_nce, info_nce_rows
from tests.unit.training.losses.conftest import close, gradient, rows

# Losses of rows whose own positive has the probability 3/4, 1/4 and 1.
LOSSES = torch.tensor([-math.log(0.75), -math.log(0.25), 0.0])


def test_weights_are_powers_of_what_is_left_of_the_probability() -> None:
    close(focal_weights(LOSSES, 1.0), [0.25, 0.75, 0.0])
    close(focal_weights(LOSSES, 0.5), [0.5, math.sqrt(0.75), 0.0])
    close(focal_weights(LOSSES, 2.0), [0.0625, 0.5625, 0.0])


def test_gamma_0_weighs_all_rows_alike() -> None:
    close(focal_weights(LOSSES, 0.0), [1.0, 1.0, 1.0])


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=8), st.floats(0, 4))
def test_harder_rows_never_weigh_less(losses: list[float], gamma: float) -> None:
    weights = focal_weights(torch.tensor(sorted(losses)), gamma)
    assert bool(((weights >= 0) & (weights <= 1)).all())
    assert bool((weights.diff() >= 0).all())


def test_small_losses_are_told_apart() -> None:
    """1 - exp(-x) is x for small x; exp(-1e-9) is 1 in float32."""
    close(focal_weights(torch.tensor([1e-9, 4e-9]), 1.0) * 1e9, [1.0, 4.0])


def test_weights_are_constants_also_where_a_loss_is_0() -> None:
    anchors = rows(3, 4).requires_grad_()
    candidates, positive = rows(3, 4, 1), torch.arange(3)
    losses = info_nce_rows(anchors, candidates, positive, temperature=0.1)
    weights = focal_weights(losses)
    assert not weights.requires_grad
    masked = torch.ones(3, 3, dtype=torch.bool)
    info_nce(
        anchors,
        candidates,
        positive,
        temperature=0.1,
        excluded=masked,
        weights=focal_weights(torch.zeros(3)),
    ).backward()
    assert not gradient(anchors).any()


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gamma=-1 is negative"):
        focal_weights(LOSSES, -1)
