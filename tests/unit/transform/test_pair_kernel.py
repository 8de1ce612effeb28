import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.pair_kernel import (
    PENALTY,
    Metric,
    couples,
    pair_kernel,
    predict_for_new_queries,
    predict_left_out,
    ridge_inverse,
)
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import small_rows

FLAT = Metric(np.zeros((1, 2), dtype=np.float32), 0.0)
SEVERAL = small_rows(5, 3).map(unit_rows)


def pairs(queries: object, documents: object) -> Pairs:
    return Pairs(
        unit_rows(np.asarray(queries)),
        unit_rows(np.asarray(documents)),
        np.ones(len(np.asarray(queries)), dtype=np.bool_),
    )


def test_without_directions_documents_are_compared_as_stored() -> None:
    vectors = np.array([[0.6, 0.8]], dtype=np.float32)
    np.testing.assert_array_equal(FLAT.lift(vectors), vectors)
    assert Metric.of(np.zeros((1, 2), dtype=np.float32), vectors).square == 0


def test_half_of_the_comparison_is_what_the_transform_sees() -> None:
    """D looks at the first coordinate, of 0.6 and -1 here: the mean square is (0.36 + 1) / 2."""
    directions = np.array([[3, 0]], dtype=np.float32)
    documents = np.array([[0.6, 0.8], [-1, 0]], dtype=np.float32)
    metric = Metric.of(directions, documents)
    assert metric.square == pytest.approx(9 * 0.68)
    inner = metric.lift(documents) @ documents.T
    assert inner[0, 0] == pytest.approx((1 + 0.36 / 0.68) / 2)
    assert inner[0, 1] == pytest.approx((-0.6 - 0.6 / 0.68) / 2)


def test_near_pairs_are_alike_if_both_sides_are() -> None:
    """Queries at right angles are alike to exp(-4); documents by their cosine, 0.6."""
    kernel = pair_kernel(pairs([[1, 0], [1, 0], [0, 1]], [[1, 0], [3, 4], [1, 0]]), FLAT, False)
    far = np.exp(-4)
    expected = [[1, 0.6, far], [0.6, 1, 0.6 * far], [far, 0.6 * far, 1]]
    np.testing.assert_allclose(kernel, expected, atol=1e-6)


def test_everywhere_also_compares_by_cosines_and_with_sides_swapped() -> None:
    """The second pair is the first with its sides swapped: 0.6 * 0.6 and 1 * 1, halved."""
    kernel = pair_kernel(pairs([[1, 0], [3, 4]], [[3, 4], [1, 0]]), FLAT, True)
    near = np.exp(4 * (0.6 - 1))
    assert kernel[0, 1] == pytest.approx(near * 0.6 + (0.36 + 1) / 2)
    assert kernel[0, 0] == pytest.approx(1 + (1 + 0.36) / 2)


@given(queries=SEVERAL, documents=SEVERAL, directions=small_rows(2, 3), everywhere=st.booleans())
def test_kernels_are_symmetric_and_positive(
    queries: FloatArray, documents: FloatArray, directions: FloatArray, everywhere: bool
) -> None:
    kernel = pair_kernel(pairs(queries, documents), Metric.of(directions, documents), everywhere)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-5)
    assert np.linalg.eigvalsh(kernel).min() > -1e-4


@given(
    queries=SEVERAL,
    documents=SEVERAL,
    values=st.lists(st.integers(-3, 3), min_size=5, max_size=5),
    rows=st.sets(st.integers(0, 4), min_size=1, max_size=4).map(sorted),
)
def test_left_out_predictions_are_those_of_a_regression_on_the_others(
    queries: FloatArray, documents: FloatArray, values: list[int], rows: list[int]
) -> None:
    kernel = pair_kernel(pairs(queries, documents), FLAT_3, True)
    found = predict_left_out(ridge_inverse(kernel), np.array(values, float), np.array(rows))
    others = np.setdiff1d(np.arange(5), rows)
    system = kernel[np.ix_(others, others)] + PENALTY * np.eye(len(others))
    expected = kernel[np.ix_(rows, others)] @ np.linalg.solve(system, np.array(values)[others])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


FLAT_3 = Metric(np.zeros((1, 3), dtype=np.float32), 0.0)


def test_couples_are_of_one_query_where_one_was_judged_both_ways() -> None:
    relevant = np.array([True, False, True, True, False])
    groups = np.array([0, 0, 0, 1, 2])
    assert couples(relevant, groups, 0).tolist() == [[0, 1], [2, 1]]


def test_couples_are_of_any_queries_where_none_was_judged_both_ways() -> None:
    relevant, groups = np.array([True, False, True]), np.array([0, 1, 2])
    assert couples(relevant, groups, 0).tolist() == [[0, 1], [2, 1]]


def test_a_thousand_couples_are_enough() -> None:
    relevant = np.arange(100) < 50
    chosen = couples(relevant, np.zeros(100, dtype=np.int64), 0)
    assert len(chosen) == len(np.unique(chosen, axis=0)) == 1000
    assert relevant[chosen[:, 0]].all()
    assert not relevant[chosen[:, 1]].any()
    np.testing.assert_array_equal(chosen, couples(relevant, np.zeros(100, dtype=np.int64), 0))
    assert not np.array_equal(chosen, couples(relevant, np.zeros(100, dtype=np.int64), 1))


def test_couples_are_predicted_without_themselves_or_without_their_queries() -> None:
    rng = np.random.default_rng(0)
    judged = pairs(rng.standard_normal((6, 3)), rng.standard_normal((6, 3)))
    inverse = ridge_inverse(pair_kernel(judged, FLAT_3, True))
    values, groups = rng.standard_normal(6), np.array([0, 0, 0, 1, 1, 2])
    found = np.array([[0, 1], [3, 5]])
    same = predict_left_out(inverse, values, found)
    np.testing.assert_allclose(same[0], predict_left_out(inverse, values, np.array([0, 1])))
    new = predict_for_new_queries(inverse, values, found, groups)
    np.testing.assert_allclose(new[0], predict_left_out(inverse, values, np.arange(3))[:2])
    last = predict_left_out(inverse, values, np.array([3, 4, 5]))
    np.testing.assert_allclose(new[1], last[[0, 2]])
