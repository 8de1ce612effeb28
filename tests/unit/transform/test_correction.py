import numpy as np
import pytest
from hypothesis import given

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.correction import Correction, nearness
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import small_rows

ROWS = small_rows(4, 3).map(unit_rows)


def correction(queries: object, moves: object, axes: object, weights: object) -> Correction:
    arrays = [np.asarray(x, dtype=np.float32) for x in (queries, moves, axes, weights)]
    return Correction(*arrays)


NOTHING = np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.float32)


def test_a_judged_query_makes_its_own_move_in_full() -> None:
    """Both queries make it: (0.6, 0.8) in full, the orthogonal one to exp(-4) = 0.018."""
    judged = correction([[0.6, 0.8]], [[0, 2]], *NOTHING)
    moves = judged.move(np.array([[0.6, 0.8], [-0.8, 0.6]], dtype=np.float32))
    np.testing.assert_allclose(moves, [[0, 2], [0, 2 * np.exp(-4)]], atol=1e-6)
    assert moves.dtype == np.float32


def test_moves_of_several_judged_queries_add_up() -> None:
    judged = correction([[1, 0], [0, 1]], [[1, 0], [0, 3]], *NOTHING)
    move = judged.move(np.array([[1, 0]], dtype=np.float32))
    np.testing.assert_allclose(move, [[1, 3 * np.exp(-4)]], atol=1e-6)


def test_the_form_of_low_rank_moves_every_query() -> None:
    """Along (0.6, 0.8) twice as far as the query reaches: 2 * 0.6 * (0.6, 0.8)."""
    everywhere = correction(NOTHING[0], NOTHING[0], [[0.6, 0.8]], [2])
    move = everywhere.move(np.array([[1, 0]], dtype=np.float32))
    np.testing.assert_allclose(move, [[0.72, 0.96]], atol=1e-6)
    np.testing.assert_allclose(everywhere.form(), [[0.72, 0.96], [0.96, 1.28]], atol=1e-6)


@given(left=ROWS, right=ROWS)
def test_nearness_is_one_for_the_same_direction_and_falls_with_the_angle(
    left: FloatArray, right: FloatArray
) -> None:
    near = nearness(left, right)
    np.testing.assert_allclose(np.diag(nearness(left, left)), 1, atol=1e-5)
    assert ((near > 0) & (near < 1 + 1e-5)).all()
    closer = (left @ right.T)[:, :1] >= left @ right.T
    assert (near[:, :1] >= near - 1e-6)[closer].all()


@given(vectors=ROWS, axes=ROWS)
def test_moves_everywhere_are_the_form_times_the_query(
    vectors: FloatArray, axes: FloatArray
) -> None:
    empty = np.empty((0, 3), dtype=np.float32)
    everywhere = correction(empty, empty, axes, [1, -2, 0, 0.5])
    np.testing.assert_allclose(
        everywhere.move(vectors), vectors @ everywhere.form(), rtol=1e-4, atol=1e-5
    )
    assert everywhere.form() == pytest.approx(everywhere.form().T, abs=1e-6)
