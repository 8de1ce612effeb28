from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.transform import Correction, QueryTransform, nearness, softmax
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import small_rows

ROWS, MAPS = small_rows(4, 3), small_rows(2, 3)


def query(
    residual: float, gates: object, bias: object, directions: object, gate: str
) -> QueryTransform:
    arrays = [np.asarray(x, dtype=np.float32) for x in (gates, bias, directions)]
    return QueryTransform(residual, *arrays, gate)  # type: ignore[arg-type]


def test_the_softmax_gate_moves_a_query_towards_its_likely_labels() -> None:
    """The logits are (log 3, 0) for the query (1, 0), so the gate is (3/4, 1/4)."""
    transform = query(1.0, [[np.log(3), 0], [0, 0]], [0, 0], [[0, 1], [1, 0]], "softmax")
    folded = transform.fold(np.array([[1, 0]], dtype=np.float32))
    # (1, 0) + 3/4 (0, 1) + 1/4 (1, 0) = (5/4, 3/4)
    np.testing.assert_allclose(folded, [[5 / 34**0.5, 3 / 34**0.5]], rtol=1e-6)
    assert folded.dtype == np.float32


def test_the_bias_shifts_the_softmax_gate() -> None:
    transform = query(0.0, np.zeros((2, 2)), [np.log(4), 0], [[1, 0], [0, 1]], "softmax")
    folded = transform.fold(np.array([[0, 1]], dtype=np.float32))
    np.testing.assert_allclose(folded, [[4 / 17**0.5, 1 / 17**0.5]], rtol=1e-6)


def test_the_linear_gate_is_a_plain_map() -> None:
    transform = query(0.5, [[1, 1]], [1], [[0, 1]], "linear")
    folded = transform.fold(np.array([[0.6, 0.8]], dtype=np.float32))
    # 0.5 (0.6, 0.8) + (0.6 + 0.8 + 1) (0, 1) = (0.3, 2.8)
    np.testing.assert_allclose(folded, unit_rows([[0.3, 2.8]]), rtol=1e-6)


def test_softmax_of_large_logits_does_not_overflow() -> None:
    np.testing.assert_array_equal(softmax(np.array([[1000, 0]], np.float32)), [[1, 0]])


@pytest.fixture
def turn() -> QueryTransform:
    """Sends (1, 0) to (0, 1)."""
    return query(0.0, [[1, 0]], [0], [[0, 1]], "linear")


@pytest.mark.parametrize(
    ("blend", "expected"),
    [(0.0, [1, 0]), (0.5, [0.5**0.5, 0.5**0.5]), (0.2, [4 / 17**0.5, 1 / 17**0.5]), (1.0, [0, 1])],
)
def test_blend_goes_from_the_generic_to_the_adapted_query(
    turn: QueryTransform, blend: float, expected: list[float]
) -> None:
    folded = turn.fold(np.array([[1, 0]], dtype=np.float32), blend)
    np.testing.assert_allclose(folded, [expected], atol=1e-6)


@given(vectors=ROWS, gates=MAPS, directions=MAPS, gate=st.sampled_from(["softmax", "linear"]))
def test_folded_queries_have_unit_length(
    vectors: FloatArray, gates: FloatArray, directions: FloatArray, gate: str
) -> None:
    transform = query(5.0, gates, [0.5, 0], directions, gate)
    for blend in (0.0, 0.3, 1.0):
        folded = transform.fold(unit_rows(vectors), blend)
        np.testing.assert_allclose(np.linalg.norm(folded, axis=1), 1, atol=1e-5)


@given(queries=ROWS, documents=ROWS, weights=MAPS, residual=st.sampled_from([0.0, 0.5, 2.0]))
def test_the_linear_gate_is_the_bilinear_form(
    queries: FloatArray, documents: FloatArray, weights: FloatArray, residual: float
) -> None:
    """The inner product with a folded query is v^T (s Id + A^T A) x, up to the query's length."""
    form = residual * np.eye(3) + weights.T @ weights
    expected = queries @ form @ documents.T
    lengths = np.linalg.norm(queries @ form, axis=1, keepdims=True)
    found = query(residual, weights, [0, 0], weights, "linear").fold(queries) @ documents.T
    np.testing.assert_allclose(found * lengths, expected, rtol=1e-4, atol=1e-2)


def test_dimension_is_that_of_the_vectors() -> None:
    assert query(1.0, np.ones((2, 5)), [0, 0], np.ones((2, 5)), "linear").dimension == 5


def corrected(transform: QueryTransform, move: list[float]) -> QueryTransform:
    """Moves every query near (1, 0) by `move`."""
    arrays = [np.asarray(x, dtype=np.float32) for x in ([[1, 0]], [move])]
    empty = np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.float32)
    return replace(transform, correction=Correction(*arrays, *empty))


def test_a_correction_moves_the_folded_query(turn: QueryTransform) -> None:
    """(1, 0) is folded to (0, 1), then moved by (2, 0)."""
    folded = corrected(turn, [2, 0]).fold(np.array([[1, 0]], dtype=np.float32))
    np.testing.assert_allclose(folded, [[2 / 5**0.5, 1 / 5**0.5]], rtol=1e-6)


def test_blend_zero_is_the_generic_query_whatever_was_judged(turn: QueryTransform) -> None:
    generic = np.array([[1, 0]], dtype=np.float32)
    np.testing.assert_allclose(corrected(turn, [0, 5]).fold(generic, 0.0), generic, atol=1e-6)


def test_scores_of_the_space_are_corrected_and_stay_similarities(turn: QueryTransform) -> None:
    """Moved by (2, 0), a score may reach 1 + 2 at most, by which it is divided."""
    query, documents = np.array([[1, 0]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    scores = np.array([[0.5, 0.25]], dtype=np.float32)
    found = corrected(turn, [2, 0]).correct(scores, query, documents)
    np.testing.assert_allclose(found, [[2.5 / 3, 0.25 / 3]], rtol=1e-6)
    assert turn.correct(scores, query, documents) is scores


def test_a_move_that_cancels_the_query_leaves_finite_scores(turn: QueryTransform) -> None:
    query, documents = np.array([[1, 0]], np.float32), np.eye(2, dtype=np.float32)
    gone = corrected(turn, [0, -1])
    assert np.isfinite(gone.fold(query)).all()
    assert np.isfinite(gone.correct(query @ documents.T, query, documents)).all()


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
