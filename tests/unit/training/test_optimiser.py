import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.training.optimiser import rate_factor
from instruct_embeddings.training.settings import OptimiserConfig


def factors(steps: int, schedule: str, warmup: float) -> list[float]:
    config = OptimiserConfig(warmup=warmup, schedule=schedule)  # type: ignore[arg-type]
    return [rate_factor(step, steps, config) for step in range(steps)]


def test_the_rate_rises_in_the_warm_up_and_falls_in_a_line() -> None:
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert factors(6, "linear", 1 / 3) == pytest.approx(expected)


def test_a_cosine_falls_slowly_first() -> None:
    assert factors(4, "cosine", 0.0) == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    assert factors(4, "constant", 0.5) == [0.5, 1.0, 1.0, 1.0]


@given(st.integers(1, 50), st.sampled_from(("linear", "cosine", "constant")), st.floats(0, 0.99))
def test_every_step_learns_and_none_above_the_highest_rate(
    steps: int, schedule: str, warmup: float
) -> None:
    assert all(0 < factor <= 1 for factor in factors(steps, schedule, warmup))
