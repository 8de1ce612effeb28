"""What judgements change in a fitted transform."""

from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray

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
        """What is added to queries, shape (n, d) to (n, d).

        Args:
            vectors: Unit generic vectors.
        """
        near = nearness(vectors, self.queries) @ self.moves
        everywhere = (vectors @ self.axes.T * self.weights) @ self.axes
        return np.asarray(near + everywhere, dtype=np.float32)

    def form(self) -> FloatArray:
        """The symmetric form that moves queries everywhere, shape (d, d)."""
        return np.asarray((self.axes.T * self.weights) @ self.axes, dtype=np.float32)


def nearness(left: FloatArray, right: FloatArray) -> FloatArray:
    """How much of a judged query's move others make, 1 for itself, shapes (n, d), (m, d) to (n, m).

    Args:
        left: Unit rows.
        right: Unit rows.
    """
    return np.asarray(np.exp(SHARPNESS * (left @ right.T - 1.0)), dtype=np.float32)
