import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.vectors import (
    move_centres,
    nearest_centre,
    spherical_k_means,
    unit_rows,
)
from tests.unit.conftest import small_rows


@given(small_rows(12, 3).map(unit_rows), st.integers(1, 4), st.integers(0, 3))
def test_centres_are_the_middle_of_their_rows(rows: FloatArray, count: int, seed: int) -> None:
    centres = spherical_k_means(rows, count, seed)
    assert centres.shape == (count, 3)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(centres, spherical_k_means(rows, count, seed))
    before = (rows @ centres.T).max(axis=1).sum()
    nearest = (rows @ centres.T).argmax(axis=1)
    sums = np.stack([rows[nearest == c].sum(axis=0) for c in range(count)])
    # No assignment of the same rows to better centres is left.
    assert np.linalg.norm(sums, axis=1).sum() <= before + 1e-3


def test_a_centre_moves_to_the_mean_direction_of_its_rows_and_an_unused_one_stays() -> None:
    rows = np.float32([[1, 0], [0.6, 0.8], [0, 1]])
    moved = move_centres(rows, np.float32([[0.8, 0.6], [-1, 0]]))
    # The sum of the rows is (1.6, 1.8), of length 2.4083.
    np.testing.assert_allclose(moved, [[0.6644, 0.7474], [-1, 0]], atol=1e-4)
    assert nearest_centre(rows, moved).tolist() == [0, 0, 0]


def test_rows_that_cancel_out_leave_their_centre_where_it_was() -> None:
    rows = np.float32([[1, 0], [-1, 0]])
    np.testing.assert_array_equal(move_centres(rows, np.float32([[0, 1]])), [[0, 1]])
