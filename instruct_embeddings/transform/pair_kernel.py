"""How alike judged pairs are, and what each would be given by judgements of the others.

All of it is closed form: the coefficients of a kernel ridge regression, and its predictions for
pairs that were left out of it, without fitting again (Rifkin and Lippert, 2007, section 3).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.query import nearness

# The systems that are solved are small and may be badly conditioned.
Doubles: TypeAlias = NDArray[np.float64]
PENALTY = 0.3
_MOST_COUPLES = 1000


@dataclass(frozen=True)
class Metric:
    """An inner product of stored vectors: as stored and as the transform sees them, in equal parts.

        <x, y> = (x^T y + x^T D^T D y / l^2) / 2,

    where D holds the directions of the folded query and l is the typical length of D x. It is
    linear in a stored vector, so that what is learned with it can be asked of an index.

    Attributes:
        directions: `D`, shape (c, d).
        square: `l^2`; 0 where the directions say nothing, and then <x, y> is x^T y.
    """

    directions: FloatArray
    square: float

    @classmethod
    def of(cls, directions: FloatArray, documents: FloatArray) -> "Metric":
        """Measure the length on some stored vectors, shape (m, d)."""
        seen = documents @ directions.T
        return cls(directions, float(np.square(seen).sum(axis=1).mean()))

    def lift(self, vectors: FloatArray) -> FloatArray:
        """What stored vectors are multiplied by for the inner product, (n, d) to (n, d)."""
        if not self.square > 0:
            return vectors
        seen = (vectors @ self.directions.T) @ self.directions / np.float32(self.square)
        return np.asarray((vectors + seen) / 2, dtype=np.float32)


def pair_kernel(pairs: Pairs, metric: Metric, everywhere: bool) -> Doubles:
    """Similarity of pairs: of their queries times of their documents (Basilico and Hofmann, 2004).

    Near a judged query, queries are compared by `nearness`. With `everywhere` they are compared by
    the metric too, however far they are, and sides may be swapped, since what a query has in common
    with a document the document has in common with the query.

    Args:
        pairs: m pairs of unit vectors.
        metric: Compares documents.
        everywhere: Whether queries far from each other are compared too.

    Returns:
        Symmetric and positive semi-definite, shape (m, m).
    """
    documents = metric.lift(pairs.documents) @ pairs.documents.T
    kernel = nearness(pairs.queries, pairs.queries) * documents
    if everywhere:
        lifted = metric.lift(pairs.queries)
        crossed = lifted @ pairs.documents.T
        kernel = kernel + ((lifted @ pairs.queries.T) * documents + crossed * crossed.T) / 2
    return np.asarray(kernel, dtype=np.float64)


def ridge_inverse(kernel: Doubles) -> Doubles:
    """Inverse of the kernel plus the penalty; times values, it gives coefficients. Shape (m, m)."""
    return np.asarray(np.linalg.inv(kernel + PENALTY * np.eye(len(kernel))))


def predict_left_out(inverse: Doubles, values: Doubles, rows: IntArray) -> Doubles:
    """What a regression on all other pairs predicts for some pairs.

    Args:
        inverse: Of `ridge_inverse`, shape (m, m).
        values: What the regression is on, shape (m,).
        rows: Pairs that are left out, at once for each row of the array, shape (..., b).

    Returns:
        Shape (..., b).
    """
    own = inverse[rows[..., :, None], rows[..., None, :]]  # (..., b, b)
    missing = np.linalg.solve(own, (inverse @ values)[rows][..., None])[..., 0]
    return np.asarray(values[rows] - missing)


def couples(relevant: BoolArray, groups: IntArray, seed: int) -> IntArray:
    """(relevant, irrelevant) pairs to put in order, of one query wherever there are such.

    Args:
        relevant: Of each pair, shape (m,).
        groups: Query of each pair, shape (m,).
        seed: Seed of the choice where there are more than a thousand.

    Returns:
        Positions, shape (c, 2).
    """
    good, bad = np.flatnonzero(relevant), np.flatnonzero(~relevant)
    found = np.stack(np.meshgrid(good, bad, indexing="ij"), axis=-1).reshape(-1, 2)
    same = groups[found[:, 0]] == groups[found[:, 1]]
    if same.any():
        found = found[same]
    chosen = np.random.default_rng(seed).permutation(len(found))[:_MOST_COUPLES]
    return np.asarray(found[np.sort(chosen)], dtype=np.int64)


def predict_for_new_queries(
    inverse: Doubles, values: Doubles, found: IntArray, groups: IntArray
) -> Doubles:
    """Predictions for couples, each without all judgements of its queries.

    Args:
        inverse: Of `ridge_inverse`, shape (m, m).
        values: What the regression is on, shape (m,).
        found: Couples, shape (c, 2).
        groups: Query of each pair, shape (m,).

    Returns:
        Shape (c, 2).
    """
    out = np.empty(found.shape)
    queries = np.sort(groups[found], axis=1)
    for pair in np.unique(queries, axis=0):
        rows = np.flatnonzero(np.isin(groups, pair))
        predicted = dict(zip(rows, predict_left_out(inverse, values, rows), strict=True))
        for place in np.flatnonzero((queries == pair).all(axis=1)):
            out[place] = [predicted[row] for row in found[place]]
    return out
