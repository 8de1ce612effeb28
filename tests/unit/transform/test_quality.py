"""Quality of rankings, choices on folds without flattery, and chance."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.quality import (
    Difference,
    Estimate,
    bootstrap,
    choose,
    depth,
    exceeds_chance,
    label_matches,
    leave_self_out,
    mean_of,
    mean_quality,
    ndcg_at_k,
    paired_bootstrap,
    precision_at_k,
    ranking_quality,
    recall_at_k,
    signed,
    standard_error,
)
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows


@pytest.mark.parametrize(("k", "expected"), [(1, [1, 0]), (2, [0.5, 0.5]), (4, [0.5, 0.5])])
def test_precision_is_the_share_of_relevant_rows_among_the_best(
    k: int, expected: list[float]
) -> None:
    scores = np.array([[9, 8, 2, 1], [1, 2, 8, 9]], dtype=np.float32)
    relevant = np.array([[1, 0, 0, 1], [1, 0, 1, 0]], dtype=np.bool_)
    np.testing.assert_allclose(precision_at_k(scores, relevant, k), expected)


def test_excluded_rows_are_not_among_the_best() -> None:
    scores = np.array([[-np.inf, 0.1, 0.2]], dtype=np.float32)
    assert precision_at_k(scores, np.array([[True, True, False]]), 2) == 0.5


def test_rows_match_if_they_share_a_label() -> None:
    targets = np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(
        label_matches(targets), [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    )


def test_leaving_self_out_changes_a_copy() -> None:
    scores = np.ones((2, 2), dtype=np.float32)
    np.testing.assert_array_equal(leave_self_out(scores), [[-np.inf, 1], [1, -np.inf]])
    assert scores.sum() == 4


def test_ten_ranks_are_judged_or_half_of_the_others() -> None:
    assert [depth(rows) for rows in (2, 3, 5, 10, 21, 1000)] == [1, 1, 2, 4, 10, 10]


def test_ranking_quality_is_the_mean_over_rows_that_have_an_answer() -> None:
    """Three rows on a line, of which 0 and 2 belong together; one of the other two is looked at."""
    vectors = np.array([[0], [2], [3]], dtype=np.float32)
    relevant = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=np.bool_)
    # The nearest of both ends is the middle; the farthest is the other end.
    assert not ranking_quality(lambda q, x: -np.abs(q - x.T), vectors, relevant).any()
    assert ranking_quality(lambda q, x: np.abs(q - x.T), vectors, relevant).all()
    assert not ranking_quality(lambda q, x: q @ x.T, vectors, np.zeros_like(relevant)).size


def test_ndcg_counts_what_comes_first_most() -> None:
    one = {"a": 1.0}
    assert ndcg_at_k(["a", "b", "c"], one, 3) == 1.0
    assert ndcg_at_k(["b", "a", "c"], one, 3) == pytest.approx(1 / np.log2(3))
    assert ndcg_at_k(["b", "c", "a"], one, 3) == 0.5
    assert ndcg_at_k(["b", "c", "a"], one, 2) == 0.0
    assert ndcg_at_k([], one, 3) == 0.0


def test_ndcg_reads_grades_and_compares_with_the_best_order() -> None:
    grades = {"a": 3.0, "b": 1.0, "c": 2.0}
    log3 = np.log2(3)
    found = 1 + 3 / log3 + 2 / 2
    assert ndcg_at_k(["b", "a", "c"], grades, 3) == pytest.approx(found / (3 + 2 / log3 + 1 / 2))
    # Of two places the best order fills both: a, then c.
    assert ndcg_at_k(["b", "a", "c"], grades, 2) == pytest.approx((1 + 3 / log3) / (3 + 2 / log3))


def test_recall_is_the_share_of_the_relevant_rows() -> None:
    two = {"a": 1.0, "b": 5.0}
    assert [recall_at_k(["c", "a", "b"], two, k) for k in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_a_row_found_twice_counts_once() -> None:
    two = {"a": 1.0, "b": 1.0}
    assert recall_at_k(["a", "a", "b"], two, 2) == 1.0
    assert ndcg_at_k(["a", "a", "b"], two, 2) == 1.0


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


ROWS, DIMENSIONS, CLASSES, SEEDS = 100, 24, 3, 40


def fit(seed: int, signal: float) -> InstructionTransform:
    """Vectors of groups; the labels are their groups by as large a part as the signal is."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(CLASSES, size=ROWS)
    centres = rng.standard_normal((CLASSES, DIMENSIONS))
    vectors = 0.45 * centres[groups] + rng.standard_normal((ROWS, DIMENSIONS))
    known = rng.random(ROWS) < signal
    labels = np.where(known, groups, rng.integers(CLASSES, size=ROWS))
    return fit_transform(
        unit_rows(vectors.astype(np.float32)),
        Labels.single([str(label) for label in labels]),
        instruction="chance",
        guide="labels",
        collection=CollectionInfo("chance", "chance", DIMENSIONS, "cosine"),
        config=FitConfig(seed=seed, time_budget=1e-9),
    )


def test_labels_that_mean_nothing_gain_in_at_most_one_fit_of_ten() -> None:
    # `make bench-chance` measures 5 % on real texts.
    assert sum(fit(seed, 0.0).report.gains for seed in range(SEEDS)) <= SEEDS // 10


def test_true_labels_gain_in_most_fits() -> None:
    assert sum(fit(seed, 1.0).report.gains for seed in range(SEEDS // 4)) >= SEEDS // 5


@pytest.mark.parametrize(
    ("gain", "error", "more"), [(0.03, 0.01, True), (0.02, 0.01, False), (0.0, 0.0, False)]
)
def test_a_gain_has_to_exceed_two_standard_errors(gain: float, error: float, more: bool) -> None:
    assert exceeds_chance(gain, error) is more


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
