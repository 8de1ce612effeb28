import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.explain.layout import lay_out
from tests.unit.conftest import small_rows


def bundles(each: int = 15) -> FloatArray:
    """Three groups of rows in ten dimensions, far from each other, in turn."""
    noise = np.random.default_rng(0).standard_normal((3 * each, 10))
    centres = np.tile(10 * np.eye(3, 10), (each, 1))
    return (centres + 0.5 * noise).astype(np.float32)


def test_rows_of_a_group_lie_together() -> None:
    places = lay_out(bundles(), seed=0)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    groups = np.arange(45) % 3
    assert (groups[distances.argmin(axis=1)] == groups).all()


def test_the_same_seed_gives_the_same_map() -> None:
    first, again = (lay_out(bundles(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, lay_out(bundles()[::-1], seed=3)[::-1])


@given(small_rows(6, 4), st.integers(0, 3))
def test_few_rows_are_laid_out_by_principal_components(rows: FloatArray, seed: int) -> None:
    places = lay_out(rows, seed)
    assert places.shape == (6, 2)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-5)
    lengths = np.linalg.norm(places, axis=1)
    assert lengths.max() == pytest.approx(1, abs=1e-5) or (rows == rows[0]).all()
    assert places[:, 0].var() >= places[:, 1].var() - 1e-5


def test_rows_on_a_line_stay_on_it() -> None:
    places = lay_out(np.array([[0, 0, 0], [1, 2, 2], [4, 8, 8]], np.float32), seed=0)
    # They lie at 0, 3 and 12; the mean is 5, the farthest 7 from it. The largest is positive.
    np.testing.assert_allclose(places, [[-5 / 7, 0], [-2 / 7, 0], [1, 0]], atol=1e-5)


@settings(max_examples=5)
@given(st.integers(1, 60))
def test_equal_rows_lie_in_the_middle(count: int) -> None:
    rows = np.full((count, 3), 0.577, dtype=np.float32)
    np.testing.assert_array_equal(lay_out(rows, 0), np.zeros((count, 2)))


def test_vectors_of_one_dimension_get_a_second() -> None:
    places = lay_out(np.array([[1], [-1]], np.float32), seed=0)
    assert np.abs(places).tolist() == [[1, 0], [1, 0]]
