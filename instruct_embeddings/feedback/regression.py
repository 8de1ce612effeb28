"""What the scores of a judge say about a query vector: ridge regression on the candidates' vectors.

Relevance feedback moves a query towards what was found relevant and away from what was not. Rocchio
(1971) adds and subtracts means; here the direction is that of a linear regression of relevance on
the stored vectors, with an intercept, so that what all candidates have in common says nothing and
what tells them apart says most. It is closed form in the number of candidates, and so are the
predictions for candidates that were left out (Rifkin and Lippert, 2007, section 3), which tell
whether there is anything in the scores to learn.
"""

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray

# Chosen on dev sets by `make bench-judge`; see docs/judges.md.
PENALTY = 1.0


def relevance_direction(
    documents: FloatArray, relevance: FloatArray, penalty: float = PENALTY
) -> FloatArray:
    """The direction in which relevance rises from one candidate to another.

    Args:
        documents: Unit vectors of the candidates, shape (n, d).
        relevance: What the judge says of them, in [0, 1], shape (n,).
        penalty: Of the ridge regression, above 0; a larger one gives a shorter direction.

    Returns:
        Weights of the regression, shape (d,); zeros where all candidates are equally relevant.
    """
    centred = documents - documents.mean(axis=0)
    kernel = centred @ centred.T + np.float32(penalty) * np.eye(len(centred), dtype=np.float32)
    weights = np.linalg.solve(kernel, relevance - relevance.mean())
    return np.asarray(weights @ centred, dtype=np.float32)


def predict_left_out(
    documents: FloatArray, relevance: FloatArray, penalty: float = PENALTY
) -> FloatArray:
    """Relevance of each candidate as the regression on all others predicts it, shape (n,).

    Arguments as for `relevance_direction`; at least two candidates.
    """
    count = len(documents)
    centred = documents.astype(np.float64) - documents.mean(axis=0, dtype=np.float64)
    kernel = centred @ centred.T
    hat = np.linalg.solve(kernel + penalty * np.eye(count), kernel) + 1 / count
    own = np.diag(hat)
    return np.asarray((hat @ relevance - own * relevance) / (1 - own), dtype=np.float32)


def learnable(query: FloatArray, documents: FloatArray, relevance: FloatArray) -> float | None:
    """How far scores follow from where candidates lie: about 0 for a judge who guesses.

    The sum of two correlations: of the scores with what is predicted from those of the other
    candidates, beyond their mean, and with the similarity to the query.

    Args:
        query: Unit vector, shape (d,).
        documents: Unit vectors of the candidates, shape (n, d), at least three.
        relevance: What the judge says of them, shape (n,).

    Returns:
        In [-2, 2]; None where all scores are equal, which says nothing.
    """
    if float(np.ptp(relevance)) == 0.0:
        return None
    others = (relevance.sum() - relevance) / (len(relevance) - 1)
    predicted = predict_left_out(documents, relevance) - others
    similar = documents @ query
    return _cosine(predicted, relevance - others) + _cosine(
        similar - similar.mean(), relevance - relevance.mean()
    )


def _cosine(one: FloatArray, other: FloatArray) -> float:
    a, b = (np.asarray(each, dtype=np.float64) for each in (one, other))
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0


def to_relevance(scores: NDArray[np.float64]) -> FloatArray:
    """Scores of any scale as relevance in [0, 1], in the same order, shape (n,) to (n,).

    Scores in [0, 1] are taken as they are. Others (logits, marks from 0 to 10) are standardised
    over the candidates and squeezed by the logistic function.
    """
    if len(scores) == 0 or (scores.min() >= 0.0 and scores.max() <= 1.0):
        return scores.astype(np.float32)
    apart = scores / np.abs(scores).max()  # first, as squares of large numbers are infinite
    apart = apart - apart.mean()
    spread = float(apart.std())
    scaled = apart / spread if spread > 0 else apart
    return np.asarray(1 / (1 + np.exp(-2.0 * scaled)), dtype=np.float32)
