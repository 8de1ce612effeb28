"""What a judge's scores say about a query vector, on numbers that can be checked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.feedback.regression import (
    learnable,
    predict_left_out,
    relevance_direction,
    to_relevance,
)

# Four corners of a square: the first axis is the topic, the second what the judge looks for.
SQUARE = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.float32) / np.sqrt(np.float32(2))
UPPER = np.array([1, 0, 1, 0], dtype=np.float32)


def units(seed: int, rows: int, dimension: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_the_direction_is_what_the_relevant_have_and_the_others_lack() -> None:
    direction = relevance_direction(SQUARE, UPPER, penalty=1.0)
    # Gram matrix of the second axis: 4 * 1/2 = 2; weight = (sum x y) / (2 + 1) = sqrt(2) / 3.
    np.testing.assert_allclose(direction, [0, np.sqrt(2) / 3], atol=1e-6)


def test_a_larger_penalty_gives_a_shorter_direction() -> None:
    weak = np.linalg.norm(relevance_direction(SQUARE, UPPER, penalty=10.0))
    assert weak < np.linalg.norm(relevance_direction(SQUARE, UPPER, penalty=0.1))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_scores_say_nothing(value: float) -> None:
    same = np.full(4, value, dtype=np.float32)
    np.testing.assert_allclose(relevance_direction(SQUARE, same), 0, atol=1e-6)
    assert learnable(SQUARE[0], SQUARE, same) is None


@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_regressions_that_leave_one_out(seed: int) -> None:
    documents = units(seed, 12, 6)
    relevance = np.random.default_rng(seed).random(12).astype(np.float32)
    expected = []
    for row in range(12):
        rest = np.arange(12) != row
        weights = relevance_direction(documents[rest], relevance[rest])
        apart = documents[row] - documents[rest].mean(axis=0)
        expected.append(relevance[rest].mean() + apart @ weights)
    np.testing.assert_allclose(predict_left_out(documents, relevance), expected, atol=1e-5)


def test_scores_that_follow_places_are_learnable_and_guesses_are_not() -> None:
    rng = np.random.default_rng(0)
    wanted = units(1, 1, 16)[0]
    sensible, guessed = [], []
    for seed in range(40):
        documents = units(seed + 10, 20, 16)
        sensible.append(learnable(wanted, documents, (documents @ wanted > 0).astype(np.float32)))
        guessed.append(learnable(wanted, documents, rng.random(20).astype(np.float32)))
    assert np.mean(sensible) > 0.8
    assert np.mean(guessed) < 0.1


def test_probabilities_stay_and_other_scales_keep_their_order() -> None:
    np.testing.assert_array_equal(to_relevance(np.array([0.0, 0.2, 1.0])), np.float32([0, 0.2, 1]))
    logits = to_relevance(np.array([-8.0, 0.5, 9.0]))
    assert 0 < logits[0] < logits[1] < logits[2] < 1
    np.testing.assert_allclose(to_relevance(np.array([7.0, 7.0])), [0.5, 0.5])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_any_finite_scores_become_relevance_in_their_order(scores: list[float]) -> None:
    given_scores = np.array(scores)
    found = to_relevance(given_scores)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    order = np.argsort(given_scores, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
