"""Multinomial logistic regression on vectors: the calibrated part of both transforms."""

from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.query import softmax

# More steps only sharpen what the penalty already fixed; from a neighbouring fit half as many do.
_STEPS = 40
_MORE_STEPS = 20


@dataclass(frozen=True)
class Classifier:
    """Label probabilities `softmax(W v + b)`.

    Attributes:
        weights: `W`, shape (c, d).
        bias: `b`, shape (c,).
    """

    weights: FloatArray
    bias: FloatArray

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Probability of each label, shape (n, d) to (n, c)."""
        return softmax(vectors @ self.weights.T + self.bias)


def fit_classifier(
    vectors: FloatArray, targets: FloatArray, strength: float, start: Classifier | None = None
) -> Classifier:
    """Minimise the cross-entropy plus an L2 penalty, which is convex: one answer, no seed.

    Args:
        vectors: Unit rows, shape (n, d).
        targets: Label distribution of each row, shape (n, c), rows summing to 1.
        strength: Inverse penalty (`C` of scikit-learn): larger fits the sample more closely.
        start: Where to start from; a fit of a neighbouring strength saves steps.

    Returns:
        The classifier.
    """
    from scipy.optimize import minimize

    labels, size = targets.shape[1], vectors.shape[1]
    penalty = 1.0 / (strength * len(vectors))

    def loss_and_gradient(parameters: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = _unpack(parameters, labels, size)
        probabilities = softmax(vectors @ weights.T + bias)
        entropy = -(targets * np.log(np.maximum(probabilities, 1e-12))).sum(1).mean()
        error = (probabilities - targets) / len(vectors)  # (n, c)
        slopes = [error.T @ vectors + penalty * weights, error.sum(0)[:, None]]
        loss = float(entropy) + 0.5 * penalty * float(np.square(weights).sum())
        return loss, np.hstack(slopes).ravel().astype(np.float64)

    begin = (
        np.hstack([start.weights, start.bias[:, None]])
        if start
        else np.zeros((labels, size + 1), dtype=np.float32)
    )
    found = minimize(
        loss_and_gradient,
        begin.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MORE_STEPS if start else _STEPS},
    )
    return Classifier(*_unpack(found.x, labels, size))


def _unpack(parameters: FloatArray, labels: int, size: int) -> tuple[FloatArray, FloatArray]:
    table = parameters.reshape(labels, size + 1).astype(np.float32)
    return np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
