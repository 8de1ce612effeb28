import numpy as np
import pytest
from sklearn.linear_model import Ridge

from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.bilinear import fit_pair_map, fit_ridge_map
from instruct_embeddings.transform.vectors import unit_rows


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
