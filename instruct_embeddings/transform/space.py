"""The space transform: score candidates in a space made for the instruction."""

from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.query import softmax
from instruct_embeddings.transform.vectors import unit_rows


@dataclass(frozen=True)
class VectorEncoder:
    """The encoder `f` of GSTransform: a map of vectors with at most one hidden layer.

    Attributes:
        layers: One or two pairs of weights, shape (out, in), and bias, shape (out,).
    """

    layers: tuple[tuple[FloatArray, FloatArray], ...]

    def encode(self, vectors: FloatArray) -> FloatArray:
        """Unit vectors in the new space, shape (n, d) to (n, p)."""
        hidden = vectors
        for weights, bias in self.layers[:-1]:
            hidden = gelu(hidden @ weights.T + bias)
        weights, bias = self.layers[-1]
        return unit_rows(hidden @ weights.T + bias)


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


@dataclass(frozen=True)
class SpaceTransform:
    """A similarity of two generic vectors under an instruction, as a cosine.

    GSTransform (arXiv 2505.24754, section 3.3) ranks by the cosine of `f(q)` and `f(x)`, where `f`
    is the encoder of an encoder-decoder. A classifier on the same labels is better calibrated, so
    where there are labels the probability that both vectors carry the same one is added:

        score = (1 - w) cos(f(q), f(x)) + w sum_c p_c(q) p_c(x).

    Attributes:
        encoder: `f`.
        classifier: Label probabilities `p`; None where the supervision had no labels.
        weight: `w`; 0 where there is no classifier, or where it only names the labels of rows.
    """

    encoder: VectorEncoder
    classifier: Classifier | None
    weight: float

    def score(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Similarities in [-1, 1] of unit generic vectors, shapes (q, d) and (n, d) to (q, n)."""
        scores = self.encoder.encode(queries) @ self.encoder.encode(documents).T
        if self.classifier is None or self.weight == 0:
            return scores
        same = self.classifier.probabilities(queries) @ self.classifier.probabilities(documents).T
        return (1 - self.weight) * scores + self.weight * same


def gelu(values: FloatArray) -> FloatArray:
    """Gaussian error linear unit, tanh form (Hendrycks and Gimpel, 2016)."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (
        values + np.float32(0.044715) * values * values * values
    )
    return np.asarray(np.float32(0.5) * values * (1 + np.tanh(inner)), dtype=np.float32)
