import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import CollectionMismatchError, InvalidVectorsError
from instruct_embeddings.transform.vectors import (
    has_direction,
    index_query,
    move_centres,
    nearest_centre,
    query_row,
    spherical_k_means,
    unit_rows,
)
from tests.unit.conftest import small_rows


def test_rows_are_scaled_to_unit_length_and_zeros_stay() -> None:
    rows = unit_rows([[3, 4], [0, 0], [0, -2]])
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, -1]], atol=1e-7)
    assert rows.dtype == np.float32


@given(rows=small_rows(4, 3))
def test_scaling_keeps_the_direction(rows: FloatArray) -> None:
    scaled = unit_rows(rows)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        scaled * np.linalg.norm(rows, axis=1, keepdims=True), rows, atol=1e-5
    )


BROKEN = [[np.nan, 1], [np.inf, 1], [-np.inf, 0], [0, 0]]


def test_rows_without_direction_are_found_and_scaling_them_warns_of_nothing() -> None:
    rows = np.array([[1, 0], *BROKEN, [0, -1e-3]], dtype=np.float32)
    np.testing.assert_array_equal(has_direction(rows), [1, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(unit_rows(rows), [[1, 0], *[[0, 0]] * 4, [0, -1]])


def test_a_query_is_one_unit_row_whatever_its_form() -> None:
    for vector in ([3, 4], (3.0, 4.0), np.array([[3, 4]], dtype=np.float64)):
        row = query_row(vector, 2)
        assert row.shape == (1, 2)
        np.testing.assert_allclose(row, [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("vector", BROKEN)
def test_a_query_needs_a_direction(vector: list[float]) -> None:
    with pytest.raises(InvalidVectorsError, match="zero or holds NaN or infinite numbers"):
        query_row(vector, 2)


def test_a_query_needs_the_dimension_of_the_collection() -> None:
    with pytest.raises(
        CollectionMismatchError, match="has 3 dimensions, the stored vectors have 2"
    ):
        query_row([1, 2, 3], 2)


@pytest.mark.parametrize("scale", [1e-300, 1e-45, 1e-30, 1e-20, 1e20, 1e30, 1e300])
def test_a_direction_does_not_depend_on_the_length(scale: float) -> None:
    rows = np.array([[3, 4], [-1, 0.5]]) * scale
    np.testing.assert_allclose(unit_rows(rows), unit_rows(rows / scale), atol=2e-7)
    np.testing.assert_allclose(query_row(rows[0], 2), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(query_row(rows[0].tolist(), 2), [[0.6, 0.8]], rtol=1e-6)
    with np.errstate(over="ignore", under="ignore"):
        small = rows.astype(np.float32)
    if has_direction(small).all() and scale > 1e-40:
        np.testing.assert_allclose(unit_rows(small), unit_rows(rows), atol=2e-6)


def test_one_long_row_leaves_the_others_as_they_are() -> None:
    rows = np.array([[3, 4], [1e30, 1e-30], [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(unit_rows(rows)[0], unit_rows(rows[:1])[0])
    np.testing.assert_array_equal(unit_rows(rows)[1:], [[1, 0], [0, 0]])


@pytest.mark.parametrize("vector", ["text", ["a"], [[1], [1, 2]], {"a": 1}, [10**400]])
def test_what_is_no_vector_is_refused(vector: object) -> None:
    with pytest.raises(InvalidVectorsError, match="must be a vector of numbers"):
        query_row(vector, 2)  # type: ignore[arg-type]


def test_an_index_is_asked_with_what_float32_holds() -> None:
    usual = np.array([3.0, 4.0])
    for space in ("cosine", "ip", "l2"):
        np.testing.assert_array_equal(index_query(usual, lambda s=space: s), [3, 4])  # type: ignore[misc]
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        found = index_query(usual * scale, lambda: "cosine")
        np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)
        for space in ("ip", "l2"):
            with pytest.raises(InvalidVectorsError, match=r"between 1e-15 and 1e.*got 5e"):
                index_query(usual * scale, lambda s=space: s)  # type: ignore[misc]
    for broken in BROKEN:
        with pytest.raises(InvalidVectorsError, match="zero or holds NaN"):
            index_query(np.array(broken, dtype=np.float64), lambda: "l2")


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
