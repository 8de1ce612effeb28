import numpy as np
import pytest
from hypothesis import given

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import CollectionMismatchError, InvalidVectorsError
from instruct_embeddings.transform.vectors import has_direction, query_row, unit_rows
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
