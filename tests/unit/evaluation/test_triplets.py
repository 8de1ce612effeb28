"""Toys with a colour and a shape: one-hot vectors obey, their sum ignores the instruction."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr

from instruct_embeddings._types import FloatArray
from instruct_embeddings.evaluation.metrics import (
    Triplets,
    can_be_anchors,
    closer,
    conditioned_similarity,
    draw_triplets,
    triplet_accuracy,
)
from instruct_embeddings.transform.vectors import unit_rows

SQUARE = np.array([["red", "ball"], ["red", "cube"], ["blue", "ball"], ["blue", "cube"]])
COLOURS, SHAPES = ("red", "green", "blue"), ("ball", "cube", "ring")


def toys(seed: int = 0, n: int = 30) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(COLOURS, n), rng.choice(SHAPES, n)], axis=1)


def one_hot(labels: NDArray[Any], names: tuple[str, ...]) -> FloatArray:
    return (labels[:, None] == np.array(names)[None]).astype(np.float32)


def test_of_a_square_every_corner_is_an_anchor_with_one_choice() -> None:
    found = draw_triplets(SQUARE, 4, np.random.default_rng(0))
    assert sorted(found.anchors.tolist()) == [0, 1, 2, 3]
    for anchor, first, second in zip(found.anchors, found.first, found.second, strict=True):
        assert SQUARE[first].tolist() == [SQUARE[anchor][0], SQUARE[3 - anchor][1]]
        assert SQUARE[second].tolist() == [SQUARE[3 - anchor][0], SQUARE[anchor][1]]


def test_anchors_are_taken_in_turn() -> None:
    found = draw_triplets(SQUARE, 10, np.random.default_rng(0))
    assert len(found) == 10
    assert sorted(np.bincount(found.anchors).tolist()) == [2, 2, 3, 3]


def test_where_one_aspect_decides_the_other_there_are_no_triplets() -> None:
    decided = np.array([["cat", "animal"], ["dog", "animal"], ["cat", "animal"], ["car", "thing"]])
    assert len(can_be_anchors(decided)) == 0
    assert len(draw_triplets(decided, 5, np.random.default_rng(0))) == 0


def test_embeddings_that_obey_have_all_triplets_right() -> None:
    labels = toys()
    colours, shapes = one_hot(labels[:, 0], COLOURS), one_hot(labels[:, 1], SHAPES)
    triplets = draw_triplets(labels, 40, np.random.default_rng(0))
    everything = np.arange(len(triplets))
    assert triplet_accuracy(colours, shapes, triplets)(everything) == 1
    assert triplet_accuracy(shapes, colours, triplets)(everything) == 0
    assert conditioned_similarity(colours, shapes, triplets)(everything) == pytest.approx(1)
    assert conditioned_similarity(shapes, colours, triplets)(everything) == pytest.approx(-1)


@pytest.mark.parametrize("seed", range(5))
def test_embeddings_that_ignore_the_instruction_are_at_chance(seed: int) -> None:
    labels = toys(seed)
    rng = np.random.default_rng(seed)
    same = unit_rows(rng.normal(size=(len(labels), 4)))
    triplets = draw_triplets(labels, 40, rng)
    for units in (np.arange(40), rng.integers(0, 40, 40)):
        assert triplet_accuracy(same, same, triplets)(units) == 0.5
        assert conditioned_similarity(same, same, triplets)(units) == pytest.approx(0, abs=1e-12)


def test_similarity_is_the_rank_correlation_of_all_pairs_with_the_answers() -> None:
    rng = np.random.default_rng(3)
    first, second = (unit_rows(rng.normal(size=(6, 3))) for _ in range(2))
    triplets = Triplets(np.array([0, 1]), np.array([2, 3]), np.array([4, 5]))
    cosines = [v[a] @ v[b] for v in (first, second) for a, b in ((0, 2), (1, 3), (0, 4), (1, 5))]
    expected = spearmanr(cosines, [1, 1, 0, 0, 0, 0, 1, 1]).statistic
    found = conditioned_similarity(first, second, triplets)(np.arange(2))
    assert found == pytest.approx(expected)


def test_cosines_that_are_all_the_same_follow_nothing() -> None:
    triplets = Triplets(np.array([0]), np.array([1]), np.array([2]))
    same = np.ones((3, 1), dtype=np.float32)
    assert conditioned_similarity(same, same, triplets)(np.array([0])) == 0


EAST, NORTH = [1.0, 0.0], [0.0, 1.0]
HALFWAY, MOSTLY_EAST = [0.6, 0.8], [0.8, 0.6]


def rows(*vectors: list[float]) -> FloatArray:
    return np.array(vectors, dtype=np.float32)


def test_each_triplet_is_right_wrong_or_a_tie() -> None:
    """From the east, mostly east (cosine 0.8) lies closer than halfway (0.6) and north (0)."""
    embeddings = rows(EAST, MOSTLY_EAST, HALFWAY, NORTH)
    anchors, near, far = np.array([[0, 0, 0], [1, 3, 2], [2, 2, 2]])
    np.testing.assert_array_equal(closer(embeddings, anchors, near, far), [1, 0, 0.5])


@given(st.integers(0, 10_000))
def test_embeddings_that_ignore_the_instruction_are_right_half_the_time(seed: int) -> None:
    """What is closer under one instruction is farther under the other."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((6, 3)).astype(np.float32)
    anchors, near, far = rng.integers(0, 6, (3, 8))
    one, other = closer(embeddings, anchors, near, far), closer(embeddings, anchors, far, near)
    np.testing.assert_allclose(one + other, 1)
