"""The space transform: score candidates in a space made for the instruction."""

from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.classifier import Classifier
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
class SpaceTransform:
    """A similarity of two generic vectors under an instruction, as a cosine.

    GSTransform (arXiv 2505.24754, section 3.3) ranks by the cosine of `f(q)` and `f(x)`, where `f`
    is the encoder of an encoder-decoder. A classifier on the same labels is better calibrated, so
    where there are labels the probability that both vectors carry the same one is added:

        score = (1 - w) cos(f(q), f(x)) + w sum_c p_c(q) p_c(x).

    Attributes:
        encoder: `f`.
        classifier: Label probabilities `p`; None where the supervision had no labels.
        weight: `w`; 0 where there is no classifier.
    """

    encoder: VectorEncoder
    classifier: Classifier | None
    weight: float

    def score(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Similarities in [-1, 1].

        Args:
            queries: Unit generic vectors, shape (q, d).
            documents: Unit generic vectors, shape (n, d).

        Returns:
            Shape (q, n).
        """
        return self.embed_queries(queries) @ self.embed_documents(documents).T

    def embed_queries(self, vectors: FloatArray) -> FloatArray:
        """Query side of the space: unit rows, shape (n, d) to (n, p + c + 2)."""
        return self._embed(vectors, slack_first=True)

    def embed_documents(self, vectors: FloatArray) -> FloatArray:
        """Document side of the space: unit rows, shape (n, d) to (n, p + c + 2)."""
        return self._embed(vectors, slack_first=False)

    def _embed(self, vectors: FloatArray, *, slack_first: bool) -> FloatArray:
        encoded = self.encoder.encode(vectors)
        if self.classifier is None:
            return encoded
        probabilities = self.classifier.probabilities(vectors)
        # A coordinate that only one side uses brings a row to unit length without changing any
        # inner product across the sides (Bachrach et al., 2014, for maximum inner product search).
        slack = np.sqrt(np.maximum(0.0, 1.0 - np.square(probabilities).sum(1, keepdims=True)))
        empty = np.zeros_like(slack)
        sides = (slack, empty) if slack_first else (empty, slack)
        share = np.float32(self.weight)
        return np.hstack(
            [np.sqrt(1 - share) * encoded, np.sqrt(share) * np.hstack([probabilities, *sides])]
        ).astype(np.float32)


def gelu(values: FloatArray) -> FloatArray:
    """Gaussian error linear unit, tanh form (Hendrycks and Gimpel, 2016)."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (values + np.float32(0.044715) * values**3)
    return np.asarray(np.float32(0.5) * values * (1 + np.tanh(inner)), dtype=np.float32)
