"""Linear maps of generic vectors, learned from target vectors or from pairs."""

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs

_RANK = 32
_STEPS = 100


def fit_ridge_map(
    vectors: FloatArray, targets: FloatArray, strength: float
) -> tuple[FloatArray, FloatArray]:
    """Ridge regression of centred targets on centred vectors, in closed form.

    Args:
        vectors: Shape (n, d).
        targets: Shape (n, p).
        strength: Inverse penalty: larger fits the sample more closely.

    Returns:
        Weights, shape (p, d), and bias, shape (p,): the centred target is `W v + b`.
    """
    mean = vectors.mean(0)
    x = (vectors - mean).astype(np.float64)
    y = (targets - targets.mean(0)).astype(np.float64)
    gram = x.T @ x + np.eye(x.shape[1]) / strength
    weights = np.linalg.solve(gram, x.T @ y).T
    return weights.astype(np.float32), (-weights @ mean).astype(np.float32)


def fit_pair_map(pairs: Pairs, strength: float, seed: int = 0) -> FloatArray:
    """Logistic regression of relevance on `t (q^T x + q^T A^T A x) + c`.

    Args:
        pairs: Judged pairs of unit vectors.
        strength: Inverse penalty on `A`.
        seed: Seed of the start.

    Returns:
        `A`, shape (32, d).
    """
    from scipy.optimize import minimize

    queries, documents = pairs.queries, pairs.documents
    signs = np.where(pairs.relevant, 1.0, -1.0)
    plain = (queries * documents).sum(1)
    penalty = 1.0 / (strength * len(signs))
    start = 0.05 * np.random.default_rng(seed).standard_normal((_RANK, queries.shape[1]))

    def loss_and_gradient(parameters: FloatArray) -> tuple[float, FloatArray]:
        weights = parameters[:-2].reshape(_RANK, -1)
        scale, shift = parameters[-2:]
        left, right = queries @ weights.T, documents @ weights.T  # (m, r)
        form = plain + (left * right).sum(1)
        margins = signs * (scale * form + shift)
        slopes = -signs / (1 + np.exp(np.minimum(margins, 50.0))) / len(signs)  # (m,)
        lifted = (scale * slopes)[:, None]
        gradient = (lifted * right).T @ queries + (lifted * left).T @ documents
        gradient += 2 * penalty * weights
        loss = np.logaddexp(0, -margins).mean() + penalty * np.square(weights).sum()
        return float(loss), np.concatenate([gradient.ravel(), [slopes @ form, slopes.sum()]])

    begin = np.concatenate([start.ravel(), [5.0, 0.0]])
    found = minimize(
        loss_and_gradient, begin, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return np.asarray(found.x[:-2].reshape(_RANK, -1), dtype=np.float32)
