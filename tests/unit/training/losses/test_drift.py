import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import compensate, drift, drift_vector
from tests.unit.training.losses.conftest import close, gradient, rows


def test_drift_is_0_at_the_start_and_1_at_right_angles() -> None:
    frozen = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    close(drift(3 * frozen, frozen), 0.0)
    close(drift(frozen.flip(0), frozen), 1.0)


def test_drift_holds_the_student_only() -> None:
    student, frozen = rows(2, 3).requires_grad_(), rows(2, 3, 1).requires_grad_()
    drift(student, frozen).backward()
    assert gradient(student).any()
    assert frozen.grad is None


def test_the_drift_vector_is_the_mean_way_between_unit_rows() -> None:
    """(1, 0) went to (0, 1) and (0, 1) stayed: (-1, 1) and (0, 0)."""
    old, new = torch.tensor([[5.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])
    close(drift_vector(old, new), [-0.5, 0.5])


def test_a_single_query_is_moved_back_to_where_it_was() -> None:
    old, new = torch.tensor([[0.6, 0.8]]), torch.tensor([[2.0, 0.0]])
    close(compensate(new, drift_vector(old, new)), [[0.6, 0.8]])


@given(seed=st.integers(0, 1000))
def test_compensation_brings_queries_back_that_drifted_alike(seed: int) -> None:
    old = functional.normalize(rows(20, 6, seed), dim=1)
    new = old + functional.normalize(rows(1, 6, seed + 1), dim=1) + 0.05 * rows(20, 6, seed + 2)
    back = compensate(new, drift_vector(old, new))
    close(back.norm(dim=1), torch.ones(20))
    assert drift(back, old) < drift(new, old)


def test_as_many_rows_after_as_before_are_needed() -> None:
    with pytest.raises(ConfigError, match=r"new must have shape \(2, 2\), got \(1, 2\)"):
        drift_vector(rows(2, 2), rows(1, 2))
