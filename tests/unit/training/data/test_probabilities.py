import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.training.data.batches import group_probabilities


def test_sets_are_drawn_by_the_power_of_their_size() -> None:
    # Square roots of 100 and 400 rows: 10 and 20.
    found = group_probabilities([100, 400], [0, 1], [1.0, 1.0], temperature=0.5, max_rows=10_000)
    np.testing.assert_allclose(found, [1 / 3, 2 / 3])


def test_weights_multiply() -> None:
    found = group_probabilities([100, 400], [0, 1], [4.0, 1.0], temperature=0.5, max_rows=10_000)
    np.testing.assert_allclose(found, [2 / 3, 1 / 3])


def test_a_set_of_many_groups_is_drawn_as_often_as_one_of_its_size() -> None:
    # A hundred groups of 4 rows against one of 400; then the groups of a set share its chance.
    found = group_probabilities(
        [4] * 100 + [400], [0] * 100 + [1], [1.0, 1.0], temperature=0.5, max_rows=10_000
    )
    np.testing.assert_allclose(found[:100], 1 / 200)
    np.testing.assert_allclose(found[100], 1 / 2)


def test_groups_share_the_chance_of_their_set_by_the_same_power() -> None:
    found = group_probabilities([1, 9], [0, 0], [1.0], temperature=0.5, max_rows=100)
    np.testing.assert_allclose(found, [1 / 4, 3 / 4])


def test_further_rows_of_a_group_do_not_count() -> None:
    found = group_probabilities([100, 1_000_000], [0, 1], [1, 1], temperature=1.0, max_rows=300)
    np.testing.assert_allclose(found, [1 / 4, 3 / 4])


@pytest.mark.parametrize(("temperature", "first"), [(0.0, 1 / 2), (1.0, 1 / 10)])
def test_temperature_goes_from_equal_sets_to_equal_rows(temperature: float, first: float) -> None:
    found = group_probabilities([10, 90], [0, 1], [1, 1], temperature=temperature, max_rows=100)
    np.testing.assert_allclose(found, [first, 1 - first])


def test_a_set_without_groups_changes_nothing() -> None:
    found = group_probabilities([5], [1], [3.0, 1.0], temperature=0.5, max_rows=100)
    np.testing.assert_allclose(found, [1.0])


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 3)), min_size=1, max_size=30),
    st.floats(0, 2),
)
def test_chances_are_positive_and_add_up_to_one(
    groups: list[tuple[int, int]], temperature: float
) -> None:
    rows, sources = zip(*groups, strict=True)
    found = group_probabilities(
        rows, sources, [1.0, 0.5, 2.0, 3.0], temperature=temperature, max_rows=20_000
    )
    assert found.min() > 0
    assert found.sum() == pytest.approx(1)
