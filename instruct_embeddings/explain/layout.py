"""Where the rows of an explanation lie on a flat map, in either space."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.transform.threads import one_thread

_PRINCIPAL = 50
_PERPLEXITY = 30.0
_FEWEST_FOR_TSNE = 8


@dataclass(frozen=True, eq=False)
class MapPoints:
    """Where everything lies on the two maps.

    Attributes:
        generic: Rows by their generic vectors, shape (n, 2).
        adapted: Rows as a search under the instruction compares them, shape (n, 2).
        categories: Position of each row's category in `Explanation.categories`, or -1, shape (n,).
        query_generic: The query on the generic map, shape (2,).
        query_adapted: The query on the other map, shape (2,).
    """

    generic: FloatArray
    adapted: FloatArray
    categories: IntArray
    query_generic: FloatArray
    query_adapted: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {name: value.tolist() for name, value in asdict(self).items()}


def map_points(explanation: Explanation, *, seed: int = 0) -> MapPoints:
    """Lay the sample and the query out in two dimensions, once for each space.

    Args:
        explanation: The explanation.
        seed: Seed of t-SNE.

    Raises:
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    _, cloud = explanation.fitted_part()
    with one_thread():
        generic = lay_out(np.concatenate([cloud.generic, cloud.query_generic]), seed)
        adapted = lay_out(np.concatenate([cloud.adapted, cloud.query_adapted]), seed)
    return MapPoints(generic[:-1], adapted[:-1], cloud.categories, generic[-1], adapted[-1])


def lay_out(vectors: FloatArray, seed: int) -> FloatArray:
    """Rows in two dimensions: principal components, then t-SNE where there are enough rows.

    Args:
        vectors: Shape (n, p).
        seed: Seed of t-SNE.

    Returns:
        Shape (n, 2), centred, the farthest row at distance 1; all zero where all rows are equal.
    """
    principal = _principal_components(vectors)
    start = principal[:, :2]
    spread = float(start[:, 0].std())
    if len(vectors) >= _FEWEST_FOR_TSNE and spread > 0:
        tsne = require("sklearn.manifold", extra="eval").TSNE(
            perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
            init=(start * (1e-4 / spread)).astype(np.float32),
            learning_rate="auto",
            random_state=seed,
        )
        start = tsne.fit_transform(principal)
    centred = start - start.mean(0)
    farthest = float(np.linalg.norm(centred, axis=1).max())
    return np.asarray(centred / (farthest or 1.0), dtype=np.float32)


def _principal_components(vectors: FloatArray) -> FloatArray:
    """At most 50 of them and at least two columns; their signs do not depend on the machine."""
    exact = vectors.astype(np.float64)
    left, sizes, _ = np.linalg.svd(exact - exact.mean(0), full_matrices=False)
    kept = left[:, :_PRINCIPAL] * sizes[:_PRINCIPAL]
    kept = np.where(sizes[: kept.shape[1]] > 1e-6 * max(1.0, sizes[0]), kept, 0.0)
    if kept.shape[1] < 2:
        kept = np.pad(kept, ((0, 0), (0, 2 - kept.shape[1])))
    largest = np.abs(kept).argmax(axis=0)
    signs = np.sign(kept[largest, np.arange(kept.shape[1])])
    return np.asarray(kept * np.where(signs == 0, 1.0, signs), dtype=np.float32)
