"""Multinomial logistic regression on vectors: the calibrated part of both transforms."""

from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.query import softmax

_MAX_STEPS = 100


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
    import torch

    x, y = torch.from_numpy(vectors), torch.from_numpy(targets)
    shape = (targets.shape[1], vectors.shape[1])
    weights = torch.from_numpy(
        start.weights.copy() if start else np.zeros(shape, np.float32)
    ).requires_grad_()
    bias = torch.from_numpy(
        start.bias.copy() if start else np.zeros(shape[0], np.float32)
    ).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights, bias],
        max_iter=_MAX_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )
    penalty = 0.5 / (strength * len(vectors))

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ weights.T + bias
        loss = -(y * torch.log_softmax(logits, dim=1)).sum(1).mean()
        loss = loss + penalty * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return Classifier(weights.detach().numpy(), bias.detach().numpy())
