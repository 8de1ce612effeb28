"""Spherical k-means (Dhillon and Modha, 2001): groups of directions."""

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray

_ROUNDS = 30
_RESTARTS = 3


def spherical_k_means(rows: FloatArray, count: int, seed: int) -> FloatArray:
    """Centres that maximise the sum of cosines, the best of 3 starts drawn as in k-means++.

    Args:
        rows: Unit rows, shape (n, d).
        count: Number of centres, at most n.
        seed: Seed of the starts.

    Returns:
        Unit rows, shape (count, d).
    """
    rng = np.random.default_rng(seed)
    found = [move_centres(rows, _plus_plus(rows, count, rng)) for _ in range(_RESTARTS)]
    return max(found, key=lambda centres: float((rows @ centres.T).max(axis=1).sum()))


def move_centres(rows: FloatArray, centres: FloatArray) -> FloatArray:
    """Lloyd's iteration on unit rows (n, d) and centres (c, d), at most 30 times."""
    numbers = np.arange(len(centres))[:, None]
    for _ in range(_ROUNDS):
        members = (nearest_centre(rows, centres) == numbers).astype(np.float32)  # (c, n)
        sums = members @ rows
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A cluster without rows, or whose rows cancel out, keeps its centre.
        moved = np.divide(sums, lengths, out=centres.copy(), where=lengths > 0)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def nearest_centre(rows: FloatArray, centres: FloatArray) -> IntArray:
    """Number of the nearest centre of each row, shapes (n, d) and (c, d) to (n,)."""
    return np.asarray((rows @ centres.T).argmax(axis=1), dtype=np.int64)


def _plus_plus(rows: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    chosen = [int(rng.integers(len(rows)))]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < count:
        latest = 1.0 - (rows @ rows[chosen[-1]]).astype(np.float64)
        distance = np.minimum(distance, np.maximum(latest, 0.0))
        total = distance.sum()
        chosen.append(int(rng.choice(len(rows), p=distance / total if total > 0 else None)))
    return rows[chosen]
