"""Checks, scaling and clusters of vectors, shared by fitting, applying and searching."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._reading import shown
from instruct_embeddings._types import BoolArray, FloatArray, IntArray, Space
from instruct_embeddings.errors import CollectionMismatchError, InvalidVectorsError

# Between these lengths squares of float32 neither vanish nor overflow.
SHORTEST, LONGEST = 1e-15, 1e15

_ROUNDS = 30
_RESTARTS = 3


def unit_rows(vectors: ArrayLike) -> FloatArray:
    """Rows scaled to unit length, float32, shape (n, d).

    Rows of any length are scaled; those without a direction (zero, NaN or infinite numbers) become
    zeros, see `has_direction`.
    """
    array = np.asarray(vectors)
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms = np.linalg.norm(array, axis=1, keepdims=True)
    usual = (norms > SHORTEST) & (norms < LONGEST)
    unit: FloatArray = np.zeros(array.shape, dtype=np.float32)
    np.divide(array, norms, out=unit, where=usual, casting="same_kind")
    odd = ~usual[:, 0]
    if odd.any():
        # The largest number of each row becomes 1 before anything is squared.
        rows = array[odd].astype(np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
        usable = (largest > 0) & np.isfinite(largest)
        rows = np.divide(rows, largest, out=np.zeros_like(rows), where=usable)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit[odd] = np.divide(rows, norms, out=rows, where=usable)
    return unit


def centred(vectors: FloatArray) -> FloatArray:
    """Rows scaled to unit length, less their mean, and scaled again, shape (n, p) to (n, p)."""
    own = unit_rows(vectors)
    return unit_rows(own - own.mean(axis=0))


def has_direction(vectors: NDArray[np.floating[Any]]) -> BoolArray:
    """Rows that are finite and not zero, shape (n,)."""
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def query_numbers(vector: ArrayLike) -> NDArray[np.float64]:
    """One query vector as float64, shape (d,): float32 may be too small for the numbers given."""
    try:
        found = np.asarray(vector, dtype=np.float64)
        if not found.ndim:
            raise TypeError("one number, or None")
        return found.ravel()
    except (TypeError, ValueError, OverflowError) as exc:
        raise InvalidVectorsError(
            f"The query must be a vector of numbers, got {shown(vector)}. Embed the text first, "
            "with the model that filled the collection."
        ) from exc


def query_row(vector: ArrayLike, dimension: int) -> FloatArray:
    """One query vector as a unit row of shape (1, d).

    Raises:
        CollectionMismatchError: It has another dimension than the stored vectors.
        InvalidVectorsError: It is zero, or holds NaN, infinite numbers or no numbers at all.
    """
    row = query_numbers(vector)[None]
    if row.shape[1] != dimension:
        raise CollectionMismatchError(
            f"The query vector has {row.shape[1]} dimensions, the stored vectors have {dimension}. "
            "Embed the query with the model that filled the collection."
        )
    _check_direction(row[0])
    return unit_rows(row)


def index_query(vector: NDArray[np.float64], space: Callable[[], Space]) -> FloatArray:
    """A query vector as an index takes it: float32, shape (d,).

    Raises:
        InvalidVectorsError: It has no direction, or a length that float32 cannot square where the
            index weighs lengths; only then `space` is called.
    """
    _check_direction(vector)
    largest = float(np.abs(vector).max())
    length = largest * float(np.linalg.norm(vector / largest))
    if SHORTEST < length < LONGEST:
        return vector.astype(np.float32)
    if space() != "cosine":
        raise InvalidVectorsError(
            f"The length of the query vector must be between {SHORTEST:g} and {LONGEST:g}, since "
            f"the index weighs lengths, got {length:.3g}. Scale the query to the length of the "
            "stored vectors, or look at the embedding model that produced it."
        )
    unit: FloatArray = unit_rows(vector[None])[0]
    return unit


def _check_direction(vector: NDArray[np.floating[Any]]) -> None:
    if not has_direction(vector[None])[0]:
        raise InvalidVectorsError(
            "The query vector is zero or holds NaN or infinite numbers, so it has no direction. "
            "Any other numbers are allowed. Look at the text and the embedding model that produced "
            "it."
        )


def spherical_k_means(rows: FloatArray, count: int, seed: int) -> FloatArray:
    """Spherical k-means (Dhillon and Modha, 2001): centres that maximise the sum of cosines.

    Unit rows (n, d) to unit rows (count, d), count <= n: the best of 3 starts drawn as in
    k-means++.
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
