import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from instruct_embeddings.transform.network import (
    NetworkConfig,
    _Adam,
    contrastive_loss,
    fit_encoder,
)
from tests.unit.conftest import Toys, make_toys

ONE_HOT = torch.eye(3)


def naive_loss(z: torch.Tensor, positive: torch.Tensor, temperature: float) -> float:
    """Equation 2 of Khosla et al., one pair at a time."""
    n, rows = len(z), []
    for i in range(n):
        below = sum(math.exp(float(z[i] @ z[j]) / temperature) for j in range(n) if j != i)
        logs = [
            math.log(math.exp(float(z[i] @ z[j]) / temperature) / below)
            for j in range(n)
            if j != i and positive[i, j]
        ]
        if logs:
            rows.append(-sum(logs) / len(logs))
    return sum(rows) / len(rows)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_contrastive_loss_is_the_naive_double_loop(temperature: float) -> None:
    z = functional.normalize(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0])  # the only row of label 2 has no positive
    positive = labels[:, None] == labels
    loss = contrastive_loss(z, positive, temperature)
    assert float(loss) == pytest.approx(naive_loss(z, positive, temperature), rel=1e-5)


def test_the_contrastive_loss_of_one_hot_rows() -> None:
    """Rows 0 and 1 are equal and belong together, row 2 is orthogonal and alone.

    Row 0 meets row 1 with similarity 1 and row 2 with 0: -log(e / (e + 1)).
    """
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    loss = contrastive_loss(ONE_HOT[[0, 0, 1]], same, 1.0)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)))


def test_rows_that_all_differ_and_all_belong_together_lose_log_two() -> None:
    loss = contrastive_loss(ONE_HOT, torch.ones(3, 3, dtype=torch.bool), 0.1)
    assert float(loss) == pytest.approx(math.log(2))


def test_without_positives_loss_and_gradient_are_zero() -> None:
    z = ONE_HOT.clone().requires_grad_()
    loss = contrastive_loss(z, torch.eye(3, dtype=torch.bool), 0.1)
    (gradient,) = torch.autograd.grad(loss, z)
    assert float(loss.detach()) == 0
    assert not gradient.any()


def test_the_small_adam_is_that_of_torch() -> None:
    target = torch.tensor([1.0, -2.0, 30.0])
    ours, theirs = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    small, reference = _Adam([ours]), torch.optim.Adam([theirs])
    for step in range(25):
        rate = 0.1 / (step + 1)
        small.step((ours - target).square().sum(), rate)
        reference.param_groups[0]["lr"] = rate
        reference.zero_grad()
        (theirs - target).square().sum().backward()  # type: ignore[no-untyped-call]
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert float(ours.detach()[2]) > 0.1


def test_the_encoder_brings_rows_of_one_colour_together(toys: Toys) -> None:
    colours = np.array(toys.colours)
    config = NetworkConfig(width=32, size=8)
    encoder = fit_encoder(toys.vectors, colours[:, None] == colours, config, seed=0)
    new = make_toys(200, seed=1)
    encoded = encoder.encode(new.vectors)
    assert encoded.shape == (200, 8)
    assert new.precision(new.vectors @ new.vectors.T) < 0.5
    assert new.precision(encoded @ encoded.T) > 0.8


def test_one_seed_gives_one_encoder(toys: Toys) -> None:
    colours = np.array(toys.colours)
    config = NetworkConfig(width=8, size=4, steps=3)
    first, again, other = (
        fit_encoder(toys.vectors, colours[:, None] == colours, config, seed) for seed in (5, 5, 6)
    )
    for (weights, bias), (same_weights, same_bias) in zip(first.layers, again.layers, strict=True):
        np.testing.assert_array_equal(weights, same_weights)
        np.testing.assert_array_equal(bias, same_bias)
    assert not np.array_equal(first.layers[0][0], other.layers[0][0])
