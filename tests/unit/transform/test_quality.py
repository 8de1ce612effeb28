import numpy as np
import pytest

from instruct_embeddings.transform.problem import depth, ranking_quality
from instruct_embeddings.transform.quality import (
    label_matches,
    leave_self_out,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)


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


def test_ten_ranks_are_judged_or_half_of_the_others() -> None:
    assert [depth(rows) for rows in (2, 3, 5, 10, 21, 1000)] == [1, 1, 2, 4, 10, 10]


def test_ranking_quality_is_the_mean_over_rows_that_have_an_answer() -> None:
    """Three rows on a line, of which 0 and 2 belong together; one of the other two is looked at."""
    vectors = np.array([[0], [2], [3]], dtype=np.float32)
    relevant = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=np.bool_)
    # The nearest of both ends is the middle; the farthest is the other end.
    assert not ranking_quality(lambda q, x: -np.abs(q - x.T), vectors, relevant).any()
    assert ranking_quality(lambda q, x: np.abs(q - x.T), vectors, relevant).all()
    assert not ranking_quality(lambda q, x: q @ x.T, vectors, np.zeros_like(relevant)).size


def test_ndcg_counts_what_comes_first_most() -> None:
    one = {"a": 1.0}
    assert ndcg_at_k(["a", "b", "c"], one, 3) == 1.0
    assert ndcg_at_k(["b", "a", "c"], one, 3) == pytest.approx(1 / np.log2(3))
    assert ndcg_at_k(["b", "c", "a"], one, 3) == 0.5
    assert ndcg_at_k(["b", "c", "a"], one, 2) == 0.0
    assert ndcg_at_k([], one, 3) == 0.0


def test_ndcg_reads_grades_and_compares_with_the_best_order() -> None:
    grades = {"a": 3.0, "b": 1.0, "c": 2.0}
    log3 = np.log2(3)
    found = 1 + 3 / log3 + 2 / 2
    assert ndcg_at_k(["b", "a", "c"], grades, 3) == pytest.approx(found / (3 + 2 / log3 + 1 / 2))
    # Of two places the best order fills both: a, then c.
    assert ndcg_at_k(["b", "a", "c"], grades, 2) == pytest.approx((1 + 3 / log3) / (3 + 2 / log3))


def test_recall_is_the_share_of_the_relevant_rows() -> None:
    two = {"a": 1.0, "b": 5.0}
    assert [recall_at_k(["c", "a", "b"], two, k) for k in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_a_row_found_twice_counts_once() -> None:
    two = {"a": 1.0, "b": 1.0}
    assert recall_at_k(["a", "a", "b"], two, 2) == 1.0
    assert ndcg_at_k(["a", "a", "b"], two, 2) == 1.0
