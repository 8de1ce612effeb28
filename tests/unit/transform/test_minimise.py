import numpy as np
import pytest
from scipy.optimize import minimize

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.minimise import minimise


def quadratic(x: FloatArray) -> tuple[float, FloatArray]:
    """Steep in some directions and flat in others; least at 1, 2, 3 and so on."""
    scale = np.logspace(0, 3, len(x), dtype=x.dtype)
    away = x - np.arange(1, len(x) + 1, dtype=x.dtype)
    return float(0.5 * (scale * away * away).sum()), scale * away


def rosenbrock(x: FloatArray) -> tuple[float, FloatArray]:
    bent = x[1] - x[0] ** 2
    loss = float(100 * bent**2 + (1 - x[0]) ** 2)
    return loss, np.array([-400 * x[0] * bent - 2 * (1 - x[0]), 200 * bent])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_it_finds_the_least_of_a_quadratic_form(kind: type) -> None:
    found = minimise(quadratic, np.zeros(8, dtype=kind), 60)
    assert found.dtype == kind
    np.testing.assert_allclose(found, np.arange(1, 9), rtol=1e-2)


def test_it_follows_a_bent_valley_as_far_as_that_of_scipy() -> None:
    start = np.array([-1.2, 1.0])
    found = minimise(rosenbrock, start, 60)
    theirs = minimize(rosenbrock, start, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    np.testing.assert_allclose(found, theirs.x, atol=1e-3)


def test_a_loss_never_rises_and_steps_are_limited() -> None:
    asked: list[float] = []

    def counted(x: FloatArray) -> tuple[float, FloatArray]:
        loss, gradient = rosenbrock(x)
        asked.append(loss)
        return loss, gradient

    start = np.array([-1.2, 1.0])
    losses = [rosenbrock(minimise(rosenbrock, start, steps))[0] for steps in range(8)]
    assert losses == sorted(losses, reverse=True)
    minimise(counted, start, 3)
    assert len(asked) < 20


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_it_stays_where_no_direction_leads_down(slope: float) -> None:
    start = np.ones(3)
    np.testing.assert_array_equal(minimise(lambda x: (1.0, slope * x), start, 5), start)
