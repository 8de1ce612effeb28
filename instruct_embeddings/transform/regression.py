"""Maps of vectors that are fitted in closed form or by L-BFGS: convex, or the same start always."""

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.minimise import minimise
from instruct_embeddings.transform.transform import Classifier, VectorEncoder, gelu, softmax

# More steps only sharpen what the penalty already fixed; from a neighbouring fit half as many do.
_CLASSIFIER_STEPS = 40
_WARM_STEPS = 20
_PAIR_RANK = 32
_PAIR_STEPS = 100
_MAX_UNITS = 512
_SHARPNESS = 4.0
_SMOOTHNESS = 0.05


def fit_ridge_map(
    vectors: FloatArray, targets: FloatArray, strength: float
) -> tuple[FloatArray, FloatArray]:
    """Ridge regression of centred targets (n, p) on centred vectors (n, d), in closed form.

    The centred target is `W v + b`, shapes (p, d) and (p,); `strength` is the inverse penalty.
    """
    mean = vectors.mean(0)
    x = (vectors - mean).astype(np.float64)
    y = (targets - targets.mean(0)).astype(np.float64)
    gram = x.T @ x + np.eye(x.shape[1]) / strength
    weights = np.linalg.solve(gram, x.T @ y).T
    return weights.astype(np.float32), (-weights @ mean).astype(np.float32)


def fit_smooth_map(vectors: FloatArray, targets: FloatArray) -> VectorEncoder:
    """Ridge regression of targets on GELU units, one at each of at most 512 sampled rows.

    A unit answers to vectors like its own row, more than in proportion: between a linear map,
    which cannot bend, and a kernel regression, which has little to say far from the sample. Unit
    rows (n, d) and centred unit rows (n, p) give weights (u, d) and (p, u) of u units.
    """
    mean = vectors.mean(0)
    chosen = np.unique(np.linspace(0, len(vectors) - 1, _MAX_UNITS).astype(np.int64))
    units = np.float32(_SHARPNESS) * (vectors[chosen] - mean)
    bias = -units @ mean
    hidden = gelu(vectors @ units.T + bias)
    return VectorEncoder(
        ((units, bias), fit_ridge_map(hidden, targets, 1.0 / (_SMOOTHNESS * len(units))))
    )


def fit_classifier(
    vectors: FloatArray, targets: FloatArray, strength: float, start: Classifier | None = None
) -> Classifier:
    """Multinomial logistic regression: cross-entropy plus an L2 penalty.

    Of label distributions (n, c) on unit rows (n, d). `strength` is the inverse penalty (`C` of
    scikit-learn); a `start` that was fitted with a neighbouring one saves steps.
    """
    labels, size = targets.shape[1], vectors.shape[1]
    penalty = 1.0 / (strength * len(vectors))

    def loss_and_gradient(parameters: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = _unpack(parameters, labels, size)
        probabilities = softmax(vectors @ weights.T + bias)
        entropy = -(targets * np.log(np.maximum(probabilities, 1e-12))).sum(1).mean()
        error = (probabilities - targets) / len(vectors)  # (n, c)
        slopes = [error.T @ vectors + penalty * weights, error.sum(0)[:, None]]
        loss = float(entropy) + 0.5 * penalty * float(np.square(weights).sum())
        return loss, np.hstack(slopes).ravel()

    begin = np.zeros((labels, size + 1), dtype=np.float32)
    if start:
        begin = np.hstack([start.weights, start.bias[:, None]])
    steps = _WARM_STEPS if start else _CLASSIFIER_STEPS
    found = minimise(loss_and_gradient, begin.ravel(), steps)
    return Classifier(*_unpack(found, labels, size))


def fit_pair_map(pairs: Pairs, strength: float, seed: int = 0) -> FloatArray:
    """`A`, shape (32, d), of a logistic regression of relevance on `t (q^T x + q^T A^T A x) + c`.

    `strength` is the inverse penalty on `A`, `seed` that of the start.
    """
    queries, documents = pairs.queries, pairs.documents
    signs = np.where(pairs.relevant, 1.0, -1.0)
    plain = (queries * documents).sum(1)
    penalty = 1.0 / (strength * len(signs))
    start = 0.05 * np.random.default_rng(seed).standard_normal((_PAIR_RANK, queries.shape[1]))

    def loss_and_gradient(parameters: FloatArray) -> tuple[float, FloatArray]:
        weights = parameters[:-2].reshape(_PAIR_RANK, -1)
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
    found = minimise(loss_and_gradient, begin, _PAIR_STEPS)
    return np.asarray(found[:-2].reshape(_PAIR_RANK, -1), dtype=np.float32)


def _unpack(parameters: FloatArray, labels: int, size: int) -> tuple[FloatArray, FloatArray]:
    table = parameters.reshape(labels, size + 1)
    return np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
