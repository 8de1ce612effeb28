import numpy as np
import pytest

from benchmarks import retrieval_metrics as metrics


def ranked(*order: int) -> np.ndarray:
    """Scores that put the rows into this order."""
    scores = np.empty(len(order), dtype=np.float32)
    scores[list(order)] = np.arange(len(order), 0, -1)
    return scores


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    """One answer second: 1 / log2(3). Two answers, first and third: 1.5 of 1 + 1 / log2(3)."""
    scores = np.stack([ranked(2, 0, 1, 3), ranked(1, 2, 0, 3)])
    relevant = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], dtype=np.bool_)
    found = metrics.ndcg(scores, relevant)
    second = 1 / np.log2(3)
    np.testing.assert_allclose(found, [second, 1.5 / (1 + second)], rtol=1e-6)


def test_ndcg_looks_at_k_rows_only() -> None:
    relevant = np.array([[1, 1, 1]], dtype=np.bool_)
    assert metrics.ndcg(ranked(0, 1, 2)[None], relevant, k=2) == 1
    one = np.array([[0, 0, 1]], dtype=np.bool_)
    assert metrics.ndcg(ranked(0, 1, 2)[None], one, k=2) == 0


def test_recall_is_a_share_of_the_answers() -> None:
    relevant = np.array([[1, 1, 0, 1]], dtype=np.bool_)
    found = metrics.recall(ranked(0, 2, 1, 3)[None], relevant, k=2)
    np.testing.assert_allclose(found, [1 / 3], rtol=1e-6)


def test_rows_that_are_left_out_are_not_found() -> None:
    """The query itself has the score of minus infinity."""
    scores = np.array([[-np.inf, 0.1, 0.2]], dtype=np.float32)
    assert metrics.ndcg(scores, np.array([[False, False, True]])) == 1


def test_couples_in_order_and_ties_count_one_half() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.1], dtype=np.float32)
    found = metrics.couples_in_order(scores, np.array([0, 1]), np.array([2, 3]))
    assert found == (3.5, 4)
    assert metrics.couples_in_order(scores, np.array([0]), np.array([], dtype=np.int64)) == (0, 0)


def test_who_ignores_the_instruction_orders_half_of_a_group() -> None:
    scores = np.array([0.9, 0.4, 0.7], dtype=np.float32)
    one, other = np.array([0]), np.array([1, 2])
    counted = [
        metrics.couples_in_order(scores, one, other),
        metrics.couples_in_order(scores, other, one),
        (0.0, 0),
    ]
    shares, groups = metrics.order_by_group(counted, np.array([7, 7, 8]))
    assert (shares.tolist(), groups.tolist()) == ([0.5], [7])


def test_groups_count_alike_however_many_couples_they_have() -> None:
    shares, _ = metrics.order_by_group([(10, 10), (0, 1), (1, 1)], np.array([0, 1, 1]))
    assert shares.tolist() == [1.0, 0.5]


def test_a_gain_is_the_difference_of_the_means() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200).astype(np.float32)
    found = metrics.gain(base + np.float32(0.1), base)
    assert found is not None
    # Every query gains the same, so that resamples do not differ.
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-6)


def test_queries_of_a_group_are_drawn_together() -> None:
    """Ten queries that are one: nothing is known of others, whatever their number."""
    ours, base = np.ones(20, dtype=np.float32), np.zeros(20, dtype=np.float32)
    ours[10:] = 0
    alone = metrics.gain(ours, base)
    together = metrics.gain(ours, base, np.repeat([0, 1], 10))
    assert alone is not None
    assert together is not None
    assert alone.value == together.value == pytest.approx(0.5)
    assert alone.high - alone.low < 0.5 < together.high - together.low
    assert metrics.gain(ours, base, np.zeros(20, dtype=np.int64)) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    ours, base = rng.random((2, 50)).astype(np.float32)
    assert metrics.gain(ours, base, seed=3) == metrics.gain(ours, base, seed=3)
