"""Linear maps of generic vectors, learned from target vectors or from pairs."""

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs

_RANK = 32
_STEPS = 150


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
    import torch

    queries, documents = torch.from_numpy(pairs.queries), torch.from_numpy(pairs.documents)
    relevant = torch.from_numpy(pairs.relevant.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    weights = (torch.randn(_RANK, queries.shape[1], generator=generator) * 0.05).requires_grad_()
    scale = torch.tensor(5.0).requires_grad_()
    shift = torch.tensor(0.0).requires_grad_()
    optimiser = torch.optim.Adam([weights, scale, shift], lr=0.02)
    plain = (queries * documents).sum(1)
    for _ in range(_STEPS):
        form = plain + ((queries @ weights.T) * (documents @ weights.T)).sum(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scale * form + shift, relevant)
        loss = loss + weights.square().sum() / (strength * len(relevant))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return weights.detach().numpy().copy()
