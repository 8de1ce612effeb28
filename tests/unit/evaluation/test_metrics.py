import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.metrics import closer, neighbour_overlap

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]
HALFWAY, MOSTLY_EAST = [0.6, 0.8], [0.8, 0.6]


def rows(*vectors: list[float]) -> FloatArray:
    return np.array(vectors, dtype=np.float32)


def test_each_triplet_is_right_wrong_or_a_tie() -> None:
    """From the east, mostly east (cosine 0.8) lies closer than halfway (0.6) and north (0)."""
    embeddings = rows(EAST, MOSTLY_EAST, HALFWAY, NORTH)
    anchors, near, far = np.array([[0, 0, 0], [1, 3, 2], [2, 2, 2]])
    np.testing.assert_array_equal(closer(embeddings, anchors, near, far), [1, 0, 0.5])


def test_triplets_of_unequal_numbers_are_refused() -> None:
    one, two = np.array([0]), np.array([0, 1])
    with pytest.raises(ConfigError, match="1 anchors, 2 near and 1 far"):
        closer(rows(EAST, NORTH), one, two, one)


@given(st.integers(0, 10_000))
def test_embeddings_that_ignore_the_instruction_are_right_half_the_time(seed: int) -> None:
    """What is closer under one instruction is farther under the other."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((6, 3)).astype(np.float32)
    anchors, near, far = rng.integers(0, 6, (3, 8))
    one, other = closer(embeddings, anchors, near, far), closer(embeddings, anchors, far, near)
    np.testing.assert_allclose(one + other, 1)


def test_overlap_is_the_share_of_common_rows_among_the_best() -> None:
    scores = np.array([[4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1]], dtype=np.float32)
    others = np.array([[9, 8, 1, 0], [9, 0, 8, 1], [0, 1, 8, 9]], dtype=np.float32)
    np.testing.assert_allclose(neighbour_overlap(scores, others, 2), [1, 0.5, 0])


def test_excluded_rows_do_not_overlap() -> None:
    scores = np.array([[-np.inf, 3, 2, 1]], dtype=np.float32)
    others = np.array([[-np.inf, 1, 2, 3]], dtype=np.float32)
    assert neighbour_overlap(scores, others, 1) == 0
    assert neighbour_overlap(scores, others, 3) == 1


@pytest.mark.parametrize("k", [0, 3])
def test_overlap_looks_at_rows_that_there_are(k: int) -> None:
    scores = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(ConfigError, match=f"k={k} is not between 1 and the number of rows, 2"):
        neighbour_overlap(scores, scores, k)


def test_overlap_compares_like_with_like() -> None:
    scores = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(ConfigError, match=r"\(1, 2\) and \(2, 2\) cannot be compared"):
        neighbour_overlap(scores, np.zeros((2, 2), dtype=np.float32), 1)
