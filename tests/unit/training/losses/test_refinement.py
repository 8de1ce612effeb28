import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.training.losses import _FLOOR, iterative_refinement
from tests.unit.training.losses.conftest import close, gradient


def test_a_step_that_doubles_the_loss_costs_log_2() -> None:
    """Mean of 1, 2 and 0.5; log 2 for the first change, nothing for the second, over two."""
    losses = torch.tensor([1.0, 2.0, 0.5])
    close(iterative_refinement(losses), 3.5 / 3 + math.log(2) / 2)
    close(iterative_refinement(losses, weight=10), 3.5 / 3 + 10 * math.log(2) / 2)


def test_one_step_has_nothing_to_compare_with() -> None:
    close(iterative_refinement(torch.tensor([0.7])), 0.7)


LOSSES = st.lists(st.floats(0, 20, width=32), min_size=1, max_size=6)


@given(losses=LOSSES, weight=st.floats(0, 3))
def test_refinement_equals_a_loop(losses: list[float], weight: float) -> None:
    pairs = list(itertools.pairwise(losses))
    changes = [math.log(max(new, _FLOOR)) - math.log(max(old, _FLOOR)) for old, new in pairs]
    penalty = sum(max(change, 0) for change in changes) / max(len(pairs), 1)
    expected = sum(losses) / len(losses) + weight * penalty
    close(iterative_refinement(torch.tensor(losses), weight=weight), expected, 1e-4)


@given(losses=LOSSES)
def test_losses_that_fall_are_averaged_only(losses: list[float]) -> None:
    falling = torch.tensor(sorted(losses, reverse=True))
    close(iterative_refinement(falling, weight=5.0), falling.mean())


@pytest.mark.parametrize("losses", [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1e-9, 0.0]])
def test_a_loss_of_0_gives_a_number_and_a_gradient(losses: list[float]) -> None:
    leaves = torch.tensor(losses, requires_grad=True)
    loss = iterative_refinement(leaves)
    loss.backward()
    assert math.isfinite(loss.item())
    gradient(leaves)


def test_the_gradient_of_a_worse_step_is_that_of_the_logarithms() -> None:
    """Of log 4 - log 2, added to the mean: 1/2 - 1/2 for the first and 1/2 + 1/4."""
    leaves = torch.tensor([2.0, 4.0], requires_grad=True)
    iterative_refinement(leaves).backward()
    close(gradient(leaves), [0.0, 0.75])


def test_losses_in_half_precision_are_widened_first() -> None:
    losses = torch.tensor([1.0, 2.0, 0.5])
    close(iterative_refinement(losses.bfloat16()), iterative_refinement(losses), 1e-6)
