"""Checks and scaling of vectors, shared by fitting, applying and searching."""

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._reading import shown
from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.errors import CollectionMismatchError, InvalidVectorsError


def unit_rows(vectors: ArrayLike) -> FloatArray:
    """Rows scaled to unit length.

    Args:
        vectors: Shape (n, d).

    Returns:
        float32, shape (n, d). Rows without a direction become zeros; see `has_direction`.
    """
    array = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    usable = (norms > 0) & (norms < np.inf)
    scaled: FloatArray = np.divide(array, norms, out=np.zeros_like(array), where=usable)
    return scaled


def has_direction(vectors: FloatArray) -> BoolArray:
    """Rows that are finite and not zero, shape (n,)."""
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def query_numbers(vector: ArrayLike) -> FloatArray:
    """One query vector as float32, shape (d,).

    Raises:
        InvalidVectorsError: It is a text, or holds something else that is no number.
    """
    try:
        return np.asarray(vector, dtype=np.float32).ravel()
    except (TypeError, ValueError) as exc:
        raise InvalidVectorsError(
            f"The query is {shown(vector)}, and a vector of numbers is wanted. Embed the text "
            "first, with the model that filled the collection."
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
    if not has_direction(row)[0]:
        raise InvalidVectorsError(
            "The query vector is zero or holds NaN or infinite numbers, so it has no direction. "
            "Look at the text and the embedding model that produced it."
        )
    return unit_rows(row)
