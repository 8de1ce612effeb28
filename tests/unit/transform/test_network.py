import math

import numpy as np
import pytest
import torch

from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.training.losses import supervised_contrastive
from instruct_embeddings.transform.network import (
    NetworkConfig,
    _Adam,
    _gradients,
    _two_layers,
    contrastive_loss,
    fit_encoder,
)
from instruct_embeddings.transform.transform import gelu, gelu_slope
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys, make_toys

ONE_HOT = np.eye(3, dtype=np.float32)


def drawn(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def naive_loss(z: FloatArray, positive: BoolArray, temperature: float) -> float:
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
def test_the_contrastive_loss_is_the_naive_double_loop_and_that_of_torch(
    temperature: float,
) -> None:
    z = unit_rows(drawn(6, 3))
    labels = np.array([0, 1, 0, 2, 1, 0])  # the only row of label 2 has no positive
    positive = labels[:, None] == labels
    loss, gradient = contrastive_loss(z, positive, temperature)
    assert loss == pytest.approx(naive_loss(z, positive, temperature), rel=1e-5)
    tensor = torch.from_numpy(z).requires_grad_()
    theirs = supervised_contrastive(tensor, torch.from_numpy(labels), temperature=temperature)
    (slopes,) = torch.autograd.grad(theirs, tensor)
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-5)
    # Torch also takes the rows to unit length, which leaves what is at right angles to them.
    along = (gradient * z).sum(1, keepdims=True) * z
    np.testing.assert_allclose(gradient - along, slopes.numpy(), atol=1e-5)


def test_the_contrastive_loss_of_one_hot_rows() -> None:
    """Rows 0 and 1 are equal and belong together, row 2 is orthogonal and alone.

    Row 0 meets row 1 with similarity 1 and row 2 with 0: -log(e / (e + 1)).
    """
    same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.bool_)
    loss, _ = contrastive_loss(ONE_HOT[[0, 0, 1]], same, 1.0)
    assert loss == pytest.approx(math.log(1 + math.exp(-1)))


def test_rows_that_all_differ_and_all_belong_together_lose_log_two() -> None:
    loss, _ = contrastive_loss(ONE_HOT, np.ones((3, 3), dtype=np.bool_), 0.1)
    assert loss == pytest.approx(math.log(2))


def test_without_positives_loss_and_gradient_are_zero() -> None:
    loss, gradient = contrastive_loss(ONE_HOT, np.eye(3, dtype=np.bool_), 0.1)
    assert loss == 0
    assert not gradient.any()


def test_the_slope_of_a_unit_is_that_of_torch() -> None:
    values = np.linspace(-5, 5, 41, dtype=np.float32)
    tensor = torch.from_numpy(values).requires_grad_()
    theirs = torch.nn.functional.gelu(tensor, approximate="tanh")
    (slopes,) = torch.autograd.grad(theirs.sum(), tensor)
    np.testing.assert_allclose(gelu(values), theirs.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(gelu_slope(values), slopes.numpy(), atol=1e-6)


def test_the_gradients_are_those_of_torch() -> None:
    config, rng = NetworkConfig(width=7, size=3, temperature=0.5), np.random.default_rng(3)
    parameters = [*_two_layers(5, 7, 3, rng), *_two_layers(3, 7, 5, rng)]
    x, noisy = unit_rows(drawn(9, 5, seed=1)), drawn(9, 5, seed=2)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 5])
    ours = _gradients(parameters, noisy, x, labels[:, None] == labels, config)

    tensors = [torch.from_numpy(part.copy()).requires_grad_() for part in parameters]
    linear, functional = torch.nn.functional.linear, torch.nn.functional
    hidden = functional.gelu(linear(torch.from_numpy(noisy), *tensors[:2]), approximate="tanh")
    z = functional.normalize(linear(hidden, *tensors[2:4]), dim=1)
    bent = functional.gelu(linear(z, *tensors[4:6]), approximate="tanh")
    error = linear(bent, *tensors[6:]) - torch.from_numpy(x)
    loss = supervised_contrastive(z, torch.from_numpy(labels), temperature=config.temperature)
    theirs = torch.autograd.grad(loss + error.square().sum(1).mean(), tensors)
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other.numpy(), atol=1e-5)


def test_the_small_adam_is_that_of_torch() -> None:
    target = np.array([1.0, -2.0, 30.0], dtype=np.float32)
    own, tensor = np.zeros(3, dtype=np.float32), torch.zeros(3, requires_grad=True)
    small, reference = _Adam([own]), torch.optim.Adam([tensor])
    for step in range(25):
        rate = 0.1 / (step + 1)
        small.step([2 * (own - target)], rate)
        reference.param_groups[0]["lr"] = rate
        reference.zero_grad()
        (tensor - torch.from_numpy(target)).square().sum().backward()  # type: ignore[no-untyped-call]
        reference.step()
    np.testing.assert_allclose(own, tensor.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert own[2] > 0.1


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
