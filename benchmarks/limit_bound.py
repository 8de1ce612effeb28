"""How many dimensions every pair of documents needs, as the two nearest of some query.

LIMIT (arXiv 2508.21038) asks for all pairs. Three answers: vectors placed by hand on a curve of
four dimensions, vectors found by gradient descent, as the paper does it, and as many orthogonal
ones as there are documents. What differs is the margin: the gap between the pair and the rest.
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.transform.vectors import unit_rows

# Documents at which the paper's optimised vectors of so many dimensions begin to miss pairs.
PUBLISHED = {512: 500_000, 1024: 4_000_000}
_RATE, _TEMPERATURE = 0.05, 0.05


class Vectors(NamedTuple):
    """Unit rows: one query for each pair of documents, shape (p, d), and documents, (n, d)."""

    queries: FloatArray
    documents: FloatArray


def all_pairs(count: int) -> IntArray:
    """Every two of some documents, shape (p, 2)."""
    return np.array(list(combinations(range(count), 2)))


def critical(dimension: int) -> int:
    """Documents that the published points hold in store for a dimension: they grow as its cube."""
    known = min(PUBLISHED)
    return round(PUBLISHED[known] * (dimension / known) ** 3)


def on_a_curve(count: int) -> Vectors:
    """Four dimensions, (cos t, sin t, cos 2t, sin 2t), for any number of documents.

    The query of the angles a and b scores the document at t with -(1 - cos(t - a))(1 - cos(t - b))
    and a constant: the most at a and b alone.
    """
    angles = 2 * np.pi * np.arange(count) / count
    documents = np.stack([f(k * angles) for k in (1, 2) for f in (np.cos, np.sin)], axis=1)
    a, b = angles[all_pairs(count)].T
    halves = -np.cos(a + b) / 2, -np.sin(a + b) / 2
    queries = np.stack([np.cos(a) + np.cos(b), np.sin(a) + np.sin(b), *halves], axis=1)
    return Vectors(unit_rows(queries), unit_rows(documents))


def orthogonal(count: int) -> Vectors:
    """One dimension a document; a query is half of each of its two."""
    documents = np.eye(count, dtype=np.float32)
    return Vectors(unit_rows(documents[all_pairs(count)].sum(1)), documents)


def optimised(count: int, dimension: int, *, steps: int, seed: int) -> Vectors:
    """Free vectors after gradient descent on the pairs themselves: no text, nothing held out."""
    pairs = torch.from_numpy(all_pairs(count))
    wanted = torch.zeros(len(pairs), count).scatter_(1, pairs, 0.5)
    source = torch.Generator().manual_seed(seed)
    free = [
        torch.randn(rows, dimension, generator=source).requires_grad_()
        for rows in (len(pairs), count)
    ]
    optimizer = torch.optim.Adam(free, lr=_RATE)
    for _ in range(steps):
        queries, documents = (normalize(part, dim=1) for part in free)
        loss = cross_entropy(queries @ documents.T / _TEMPERATURE, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Vectors(*(unit_rows(part.detach().numpy()) for part in free))


def found(vectors: Vectors, pairs: IntArray) -> dict[str, Any]:
    """Share of queries whose pair scores highest, and the smallest gap to the next document."""
    scores = vectors.queries @ vectors.documents.T
    own = np.take_along_axis(scores, pairs, axis=1).min(1)
    np.put_along_axis(scores, pairs, -np.inf, axis=1)
    gaps = own - scores.max(1)
    return {
        "dimension": vectors.documents.shape[1],
        "pairs found": round(float((gaps > 0).mean()), 4),
        "smallest gap": float(f"{gaps.min():.2g}"),
    }
