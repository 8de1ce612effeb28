import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.regression import fit_classifier, fit_pair_map, fit_ridge_map
from instruct_embeddings.transform.transform import Classifier
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys


def test_the_ridge_map_of_one_number() -> None:
    """Centred vectors -1, 1 and targets -3, 3: slope 6 / (2 + 1 / strength); zero at the mean 4."""
    vectors, targets = np.array([[3], [5]], np.float32), np.array([[0], [6]], np.float32)
    weights, bias = fit_ridge_map(vectors, targets, 1.0)
    assert weights == pytest.approx(2)
    assert bias == pytest.approx(-8)


@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_the_ridge_map_is_that_of_scikit_learn(strength: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 4)).astype(np.float32)
    targets = (vectors @ rng.standard_normal((4, 3)) + 7).astype(np.float32)
    weights, bias = fit_ridge_map(vectors, targets, strength)
    theirs = Ridge(alpha=1 / strength).fit(vectors, targets)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(
        vectors @ weights.T + bias, theirs.predict(vectors) - targets.mean(0), atol=1e-4
    )
    assert weights.dtype == bias.dtype == np.float32


def judged_pairs(m: int, seed: int) -> Pairs:
    """Pairs belong together if the first of six coordinates, a small one, has the same sign."""
    rng = np.random.default_rng(seed)
    queries, documents = rng.standard_normal((2, m, 6))
    signs = rng.choice([-1, 1], (2, m))
    queries[:, 0], documents[:, 0] = signs
    relevant = signs[0] == signs[1]
    return Pairs(unit_rows(queries), unit_rows(documents), relevant)


def order(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Share of (relevant, irrelevant) couples in the right order."""
    return float((scores[relevant][:, None] > scores[~relevant]).mean())


def test_the_pair_map_puts_relevant_pairs_before_others() -> None:
    weights = fit_pair_map(judged_pairs(200, seed=0), strength=10.0)
    assert weights.shape == (32, 6)
    new = judged_pairs(100, seed=1)
    plain = (new.queries * new.documents).sum(1)
    lifted = plain + ((new.queries @ weights.T) * (new.documents @ weights.T)).sum(1)
    assert order(plain, new.relevant) < 0.8
    assert order(lifted, new.relevant) > 0.95


def test_the_pair_map_depends_on_its_seed_only() -> None:
    pairs = judged_pairs(20, seed=0)
    first, again, other = (fit_pair_map(pairs, 1.0, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


CORNERS = np.array([[1, 0], [0, 1]], dtype=np.float32)


def test_probabilities_are_the_softmax_of_a_linear_map() -> None:
    classifier = Classifier(np.array([[np.log(3), 0], [0, 0]]), np.array([0, np.log(2)]))
    # logits (log 3, log 2) and (0, log 2)
    np.testing.assert_allclose(classifier.probabilities(CORNERS), [[3 / 5, 2 / 5], [1 / 3, 2 / 3]])


@pytest.mark.parametrize("strength", [1.0, 10.0])
def test_it_is_the_logistic_regression_of_scikit_learn(toys: Toys, strength: float) -> None:
    names, columns = np.unique(toys.shapes, return_inverse=True)
    ours = fit_classifier(toys.vectors, np.eye(4, dtype=np.float32)[columns], strength)
    theirs = LogisticRegression(C=strength, max_iter=1000).fit(toys.vectors, toys.shapes)
    assert list(theirs.classes_) == list(names)
    np.testing.assert_allclose(
        ours.probabilities(toys.vectors), theirs.predict_proba(toys.vectors), atol=0.02
    )


def loss(
    parameters: FloatArray, vectors: FloatArray, targets: FloatArray, strength: float
) -> float:
    """Cross-entropy of every row and label, one by one, plus the penalty on the weights."""
    weights, bias = parameters[:, :-1], parameters[:, -1]
    total = 0.0
    for vector, target in zip(vectors, targets, strict=True):
        logits = weights @ vector + bias
        normaliser = np.log(np.exp(logits).sum())
        total -= sum(t * (x - normaliser) for t, x in zip(target, logits, strict=True))
    return float(total + 0.5 * (weights**2).sum() / strength)


def test_no_small_step_from_the_answer_lowers_the_loss() -> None:
    """Finite differences of the naive loss vanish in every direction, soft targets included."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((8, 2)).astype(np.float32)
    targets = rng.dirichlet([1, 1, 1], 8).astype(np.float32)
    found = fit_classifier(vectors, targets, 1.0)
    answer = np.hstack([found.weights, found.bias[:, None]]).astype(np.float64)
    for place in np.ndindex(answer.shape):
        step = np.zeros_like(answer)
        step[place] = 1e-4
        up, down = (loss(answer + s, vectors, targets, 1.0) for s in (step, -step))
        assert abs(up - down) / 2e-4 < 5e-3


def test_mirrored_rows_give_a_mirrored_classifier() -> None:
    found = fit_classifier(CORNERS, CORNERS, 10.0)
    np.testing.assert_allclose(found.weights, found.weights[::-1, ::-1], atol=1e-4)
    first, second = found.probabilities(CORNERS)
    assert first[0] == pytest.approx(second[1], abs=1e-4)
    assert first[0] > 0.8


def test_a_row_with_two_labels_is_divided_between_them() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.7, 0.7]], dtype=np.float32)
    targets = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=np.float32)
    probabilities = fit_classifier(vectors, targets, 10.0).probabilities(vectors)
    np.testing.assert_allclose(probabilities[2], [0.5, 0.5], atol=1e-3)
    assert probabilities[0, 0] == pytest.approx(probabilities[1, 1], abs=1e-3)


def test_a_warm_start_leads_to_the_same_answer(toys: Toys) -> None:
    targets = np.eye(3, dtype=np.float32)[np.unique(toys.colours, return_inverse=True)[1]]
    start = fit_classifier(toys.vectors, targets, 3.0)
    warm = fit_classifier(toys.vectors, targets, 10.0, start)
    cold = fit_classifier(toys.vectors, targets, 10.0)
    np.testing.assert_allclose(
        warm.probabilities(toys.vectors), cold.probabilities(toys.vectors), atol=0.01
    )


def test_a_larger_strength_trusts_the_sample_more() -> None:
    sure = [fit_classifier(CORNERS, CORNERS, s).probabilities(CORNERS)[0, 0] for s in (0.1, 1, 10)]
    assert 0.5 < sure[0] < sure[1] < sure[2] < 1
