"""The folded query transform: adapt the query vector, leave the index alone."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.vectors import unit_rows

Gate: TypeAlias = Literal["softmax", "linear"]

# Part of the format of stored corrections: another number needs another format_version.
SHARPNESS = 4.0


@dataclass(frozen=True)
class Correction:
    """Moves query vectors by what was judged, near the judged queries and everywhere.

    Rocchio (1971) moves a judged query towards what was relevant and away from what was not. Here
    each judged query `q_i` has such a move `m_i`, and a query `v` makes it in proportion to how
    near it is; besides, a symmetric form of low rank changes all queries a little:

        move(v) = sum_i exp(4 (q_i^T v - 1)) m_i + sum_r w_r (a_r^T v) a_r.

    The move is added to a query vector, so that an index of the stored vectors needs no change.

    Attributes:
        queries: Judged queries `q_i`, unit rows, shape (u, d).
        moves: Their moves `m_i`, shape (u, d).
        axes: `a_r`, unit rows, shape (r, d).
        weights: `w_r`, shape (r,).
    """

    queries: FloatArray
    moves: FloatArray
    axes: FloatArray
    weights: FloatArray

    def move(self, vectors: FloatArray) -> FloatArray:
        """What is added to unit generic queries, shape (n, d) to (n, d)."""
        near = nearness(vectors, self.queries) @ self.moves
        everywhere = (vectors @ self.axes.T * self.weights) @ self.axes
        return np.asarray(near + everywhere, dtype=np.float32)

    def form(self) -> FloatArray:
        """The symmetric form that moves queries everywhere, shape (d, d)."""
        return np.asarray((self.axes.T * self.weights) @ self.axes, dtype=np.float32)


@dataclass(frozen=True)
class QueryTransform:
    """Turns a generic query vector into one for the same index, whatever its size.

    A stored vector `x` is ranked by its inner product with the folded query

        q' = unit(s * v + D^T g(A v + b)).

    The score must be linear in the stored vector `x`, so that everything else can be folded into
    the query; of the query `v` it may be any function. With the `linear` gate it is the bilinear
    form `v^T (s Id + A^T D) x`: `D = A` where it is fitted from pairs; from target vectors, `A`
    maps the query to them and `D` what is stored. With the `softmax` gate, `g` is the probability
    of each label for the query and row c of `D` the direction in which label c lies: the query
    moves towards the labels it is likely to carry. Fitted from labels this ranks better than a
    bilinear form of any rank, because the query side may be as sharp as a classifier while the
    index still computes an inner product.

    Attributes:
        residual: Weight `s` of the generic vector.
        gates: `A`, shape (c, d).
        bias: `b`, shape (c,).
        directions: `D`, shape (c, d).
        gate: `g`.
        correction: Move learned from judgements, added to the folded query; None without any.
    """

    residual: float
    gates: FloatArray
    bias: FloatArray
    directions: FloatArray
    gate: Gate
    correction: Correction | None = None

    @property
    def dimension(self) -> int:
        """Dimension d of the vectors it applies to."""
        return int(self.gates.shape[1])

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries.

        Args:
            vectors: Unit generic vectors of queries, shape (n, d).
            blend: 0 gives the generic vectors back, 1 the adapted ones.

        Returns:
            Unit rows, shape (n, d).
        """
        gated = vectors @ self.gates.T + self.bias
        if self.gate == "softmax":
            gated = softmax(gated)
        adapted = unit_rows(self.residual * vectors + gated @ self.directions)
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


def nearness(left: FloatArray, right: FloatArray) -> FloatArray:
    """How much of a judged query's move other queries make, 1 for itself.

    Unit rows of shapes (n, d) and (m, d) to (n, m).
    """
    return np.asarray(np.exp(SHARPNESS * (left @ right.T - 1.0)), dtype=np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """Row-wise softmax, shape (n, c) to (n, c)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
