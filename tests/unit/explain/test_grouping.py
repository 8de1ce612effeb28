from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.explain.grouping import (
    Clusters,
    _largest_peak,
    adapted_view,
    choose_centres,
    find_grouping,
    label_names,
)
from instruct_embeddings.transform import InstructionTransform, SpaceTransform
from instruct_embeddings.transform.space import VectorEncoder
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys, hand_made, small_rows

ROWS = np.array([[1, 0], [0.6, 0.8], [-0.6, 0.8]], np.float32)


def with_counts(counts: dict[str, int]) -> InstructionTransform:
    transform = hand_made()
    return replace(transform, report=replace(transform.report, label_counts=counts))


def without_labels() -> InstructionTransform:
    keep = VectorEncoder(((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),))
    return hand_made(space=SpaceTransform(keep, None, 0.0))


def bundles(angles: list[float], each: int = 20) -> FloatArray:
    """Rows within 5 degrees of each angle, in turn."""
    turns = np.linspace(-5, 5, each)[:, None] + np.array(angles)
    radians = np.deg2rad(turns.ravel())
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_a_row_is_taken_for_its_most_likely_label() -> None:
    grouping = find_grouping(hand_made(), ROWS, seed=0)
    assert (grouping.names, grouping.count) == (("left", "right"), 2)
    assigned, likely = grouping.assign(ROWS)
    assert assigned.tolist() == [0, 0, 1]
    # exp(2 x) / (exp(2 x) + exp(-2 x)) for x = 1, 0.6 and -0.6
    assert likely is not None
    assert likely.tolist() == pytest.approx([0.982, 0.917, 0.917], abs=1e-3)


def test_labels_with_a_single_row_were_not_learned_and_have_no_name() -> None:
    assert label_names(with_counts({"west": 5, "rare": 1, "east": 2})) == ("east", "west")


@pytest.mark.parametrize("counts", [{}, {"a": 2, "b": 2, "c": 2}, {"a": 9}])
def test_labels_that_do_not_fit_the_classifier_are_not_guessed(counts: dict[str, int]) -> None:
    transform = with_counts(counts)
    assert label_names(transform) is None
    grouping = find_grouping(transform, ROWS, seed=0)
    assert (grouping.names, grouping.count) == (None, 2)


def test_the_labels_of_a_real_fit_are_found_again(
    toys: Toys, by_colour: InstructionTransform
) -> None:
    grouping = find_grouping(by_colour, toys.vectors, seed=0)
    assert grouping.names == ("blue", "green", "red")
    assigned, _ = grouping.assign(toys.vectors)
    guessed = np.array(grouping.names)[assigned]
    assert np.mean(guessed == np.array(toys.colours)) > 0.9


def test_without_labels_there_are_clusters() -> None:
    rows = bundles([0, 120])
    grouping = find_grouping(without_labels(), rows, seed=0)
    assert (grouping.names, grouping.count) == (None, 2)
    assigned, likely = grouping.assign(rows)
    assert likely is None
    assert len(set(assigned[0::2])) == len(set(assigned[1::2])) == 1
    assert assigned[0] != assigned[1]


def test_a_row_is_in_the_cluster_with_the_nearest_centre() -> None:
    turn = VectorEncoder(((np.array([[0, 1], [1, 0]], np.float32), np.zeros(2, np.float32)),))
    clusters = Clusters(turn, np.array([[1, 0], [0, 1]], np.float32))
    assert clusters.assign(ROWS)[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("angles", [[0, 180], [0, 100, 200], [0, 72, 144, 216, 288]])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_many_clusters_are_found_as_there_are(angles: list[float], seed: int) -> None:
    centres = choose_centres(bundles(angles), seed)
    degrees = np.rad2deg(np.arctan2(centres[:, 1], centres[:, 0]))
    found = np.sort((degrees + 1) % 360 - 1)  # 360 is 0, also where rounding puts it
    assert np.allclose(found, angles, atol=0.5)


@pytest.mark.parametrize(
    ("figures", "place"),
    [
        ([0.5], 0),
        ([0.5, 0.4, 0.3], 0),
        ([0.3, 0.4, 0.5], 2),
        ([0.5, 0.4, 0.45, 0.3], 2),  # a peak, and 0.05 below the best
        ([0.5, 0.4, 0.42, 0.3], 0),  # 0.08 below
        ([0.5, 0.45, 0.44], 0),  # 0.06 below, but no peak
        ([0.0, 0.0], 0),
    ],
)
def test_the_largest_number_that_stands_out_is_taken(figures: list[float], place: int) -> None:
    assert _largest_peak(figures) == place


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (3, 1), (4, 2), (19, 2)])
def test_few_rows_make_few_clusters(rows: int, count: int) -> None:
    assert choose_centres(bundles([0, 90])[:rows], 0).shape == (count, 2)


def test_equal_rows_make_clusters_of_which_one_has_all() -> None:
    rows = np.tile(np.float32([0.6, 0.8]), (40, 1))
    centres = choose_centres(rows, 0)
    np.testing.assert_allclose(centres, rows[: len(centres)], atol=1e-6)


SHARES = st.sampled_from([0.0, 0.3, 0.5, 1.0])


@given(small_rows(5, 2).map(unit_rows), SHARES, SHARES)
def test_inner_products_of_the_view_are_scores_with_both_sides_folded(
    rows: FloatArray, weight: float, mix: float
) -> None:
    whole = hand_made()
    transform = replace(whole, space=replace(whole.space, weight=weight), mix=mix)
    view = adapted_view(transform, rows)
    folded = transform.query.fold(rows)
    expected = (1 - mix) * folded @ folded.T + mix * transform.space.score(rows, rows)
    np.testing.assert_allclose(view @ view.T, expected, atol=1e-5)


def test_without_labels_the_view_has_no_probabilities() -> None:
    transform = replace(without_labels(), mix=1.0)
    # The hand-made fold keeps the sign of the first coordinate, which has no share here.
    np.testing.assert_allclose(adapted_view(transform, ROWS), np.pad(ROWS, ((0, 0), (2, 0))))
