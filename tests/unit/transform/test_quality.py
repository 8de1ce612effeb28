import numpy as np
import pytest

from instruct_embeddings.transform.problem import ranking_quality
from instruct_embeddings.transform.quality import label_matches, leave_self_out, precision_at_k


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


def test_ranking_quality_is_the_mean_over_rows_that_have_an_answer() -> None:
    """Three rows on a line: both ends find the middle first; only 0 and 1 belong together."""
    vectors = np.array([[0], [1], [3]], dtype=np.float32)
    relevant = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.bool_)
    # k is 2, all other rows: one of two is right, for each of rows 0 and 1.
    assert ranking_quality(lambda q, x: -np.abs(q - x.T), vectors, relevant) == 0.5
    assert ranking_quality(lambda q, x: q @ x.T, vectors, np.zeros_like(relevant)) == 0.0
