"""Settings chosen on folds, reported without flattery."""

from collections.abc import Mapping

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.selection import choose, mean_quality, standard_error


def best(means: Mapping[str, float]) -> str:
    return max(means, key=means.__getitem__)


def units(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float32)


def test_each_fold_is_judged_by_the_setting_that_won_on_the_others() -> None:
    figures = {
        "a": [units(1.0, 0.8), units(0.1), units(0.2)],
        "b": [units(0.0, 0.0), units(0.6), units(0.5)],
    }
    setting, honest = choose(figures, best)
    # Means of all units: a 2.1 / 4, b 1.1 / 4. Without the first fold b wins, without the others a.
    assert setting == "a"
    np.testing.assert_allclose(honest, [0.0, 0.0, 0.1, 0.2])


def test_a_setting_that_wins_everywhere_is_reported_as_it_is() -> None:
    figures = {"a": [units(0.5), units(0.7)], "b": [units(0.4), units(0.2)]}
    setting, honest = choose(figures, best)
    assert setting == "a"
    np.testing.assert_allclose(honest, [0.5, 0.7])


def test_means_and_errors_of_few_units() -> None:
    assert mean_quality([]) == 0.0
    assert mean_quality([units(), units(0.25, 0.75)]) == 0.5
    assert standard_error(units(0.3)) == 0.0
    # Standard deviation sqrt(2) of two units, divided by sqrt(2).
    assert standard_error(units(0.0, 2.0)) == pytest.approx(1.0)
