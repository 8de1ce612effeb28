"""The folded query transform: adapt the query vector, leave the index alone."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.correction import Correction
from instruct_embeddings.transform.vectors import unit_rows

Gate: TypeAlias = Literal["softmax", "linear"]


@dataclass(frozen=True)
class QueryTransform:
    """Turns a generic query vector into one for the same index, whatever its size.

    A stored vector `x` is ranked by the inner product with the folded query

        q' = unit(s * v + D^T g(A v + b)),

    so only the query side need be linear-free: the documents stay as they are. With the `linear`
    gate this is the bilinear form `v^T (s Id + A^T D) x`: `D = A` where it is fitted from pairs;
    from target vectors, `A` maps the query to them and `D` what is stored. With the `softmax` gate,
    `g` is the probability of each label for the query and row c of `D` the direction in which label
    c lies: the query is moved towards the labels it is likely to carry. Fitted from labels this
    ranks better than a bilinear form of any rank, because the query side may be as sharp as a
    classifier while the index still sees an inner product.

    Attributes:
        residual: Weight `s` of the generic vector.
        gates: `A`, shape (c, d).
        bias: `b`, shape (c,).
        directions: `D`, shape (c, d).
        gate: `g`.
        correction: Moves what comes out, as judgements taught it; None without judgements.
    """

    residual: float
    gates: FloatArray
    bias: FloatArray
    directions: FloatArray
    gate: Gate
    correction: Correction | None = None

    @property
    def dimension(self) -> int:
        """Length d of the vectors it applies to."""
        return int(self.gates.shape[1])

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries.

        Args:
            vectors: Unit generic vectors of queries, shape (n, d).
            blend: 0 gives the generic vectors back, 1 the adapted ones.

        Returns:
            Unit rows, shape (n, d).
        """
        adapted = unit_rows(self.residual * vectors + self._activate(vectors) @ self.directions)
        if self.correction is not None:
            adapted = unit_rows(adapted + self.correction.move(vectors))
        if blend == 1.0:
            return adapted
        return unit_rows((1.0 - blend) * vectors + blend * adapted)

    def correct(self, scores: FloatArray, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Scores of a rescoring space with the correction that folded queries have.

        Args:
            scores: Of the space, shape (q, n).
            queries: Unit generic vectors, shape (q, d).
            documents: Unit generic vectors, shape (n, d).

        Returns:
            Similarities in [-1, 1], shape (q, n); the same scores where there is no correction.
        """
        if self.correction is None:
            return scores
        moves = self.correction.move(queries)
        longest = 1 + np.linalg.norm(moves, axis=1, keepdims=True)
        return np.asarray((scores + moves @ documents.T) / longest, dtype=np.float32)

    def _activate(self, vectors: FloatArray) -> FloatArray:
        logits = vectors @ self.gates.T + self.bias
        return softmax(logits) if self.gate == "softmax" else logits


def softmax(logits: FloatArray) -> FloatArray:
    """Row-wise softmax, shape (n, c) to (n, c)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
