import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import IntArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.transform.quality import (
    Difference,
    Estimate,
    bootstrap,
    mean_of,
    paired_bootstrap,
    signed,
)


def test_a_mean_is_a_statistic_of_units() -> None:
    assert mean_of([0, 1, 1, 0])(np.array([0, 1, 1, 2])) == 0.75


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    """Standard deviation 1 and 400 values: the standard error is 0.05."""
    values = np.tile([-1.0, 1.0], 200)
    found = bootstrap(mean_of(values), 400, rounds=2000)
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-0.098, 0.098), abs=0.01)


def test_values_that_are_all_the_same_leave_no_doubt() -> None:
    assert bootstrap(mean_of([0.4] * 9), 9) == Estimate(*[pytest.approx(0.4)] * 3)


def test_19_of_20_intervals_hold_the_true_mean() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        found = bootstrap(mean_of(rng.normal(3, 1, 60)), 60, rounds=200)
        held += found.low <= 3 <= found.high
    assert 90 <= held <= 99


def test_an_interval_is_freed_of_the_bias_of_resampling() -> None:
    """All of 100 units are different; of a resample only about 63 are."""

    def different(units: IntArray) -> float:
        return len(set(units.tolist())) / 100

    found = bootstrap(different, 100)
    assert found.value == 1
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.15


def test_pairs_show_what_separate_intervals_hide() -> None:
    """One method is better by 0.02 on every query; queries differ by far more."""
    easy_and_hard = np.linspace(0, 1, 50)
    one, other = mean_of(easy_and_hard + 0.02), mean_of(easy_and_hard)
    assert bootstrap(one, 50).low < bootstrap(other, 50).high
    gain = paired_bootstrap(one, other, 50, rounds=999)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.02, 0.02, 0.02))
    assert gain.p_value == 2 / 1000
    assert gain.significant


def test_methods_that_are_the_same_differ_by_nothing() -> None:
    same = mean_of([0, 1, 0, 1])
    gain = paired_bootstrap(same, same, 4)
    assert (gain.value, gain.p_value, gain.significant) == (0, 1, False)


@given(st.integers(0, 10_000))
def test_the_other_way_round_a_gain_is_a_loss(seed: int) -> None:
    one, other = map(mean_of, np.random.default_rng(seed).normal(size=(2, 12)))
    gain = paired_bootstrap(one, other, 12, rounds=100)
    loss = paired_bootstrap(other, one, 12, rounds=100)
    assert (gain.value, gain.low, gain.high) == pytest.approx((-loss.value, -loss.high, -loss.low))
    assert gain.p_value == loss.p_value


def test_noise_is_rarely_significant() -> None:
    """At the level 0.95, about one of 20 differences of nothing looks like something."""
    rng = np.random.default_rng(1)
    found = [
        paired_bootstrap(mean_of(a), mean_of(b), 60, rounds=200).significant
        for a, b in rng.normal(size=(100, 2, 60))
    ]
    assert 1 <= sum(found) <= 11


def test_a_seed_gives_the_same_interval_again() -> None:
    values = mean_of([0, 1, 3, 9])
    assert bootstrap(values, 4, seed=5) == bootstrap(values, 4, seed=5)
    assert bootstrap(values, 4, seed=5) != bootstrap(values, 4, seed=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size must be an integer >= 2.*, got 1"),
        ({"rounds": 9}, "rounds must be an integer >= 100.*, got 9"),
        ({"level": 95}, "level=95 is not between 0 and 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    size = arguments.pop("size", 4)
    with pytest.raises(ConfigError, match=message):
        bootstrap(mean_of([1, 2, 3, 4]), size, **arguments)


def test_figures_read_well() -> None:
    assert str(Estimate(0.6124, 0.59, 0.634)) == "0.612 [0.590, 0.634]"
    gain = Difference(0.034, 0.01, 0.058, p_value=0.002)
    assert str(gain) == "+0.034 [+0.010, +0.058] p=0.002"
    assert gain.brief() == "+0.034 (p=0.002)"
    assert gain.to_dict() == {
        "value": 0.034,
        "low": 0.01,
        "high": 0.058,
        "level": 0.95,
        "p_value": 0.002,
    }
    assert (signed(-0.0001), signed(-0.25)) == ("+0.000", "-0.250")
