"""Smaller numbers for stored embeddings, and the search that signs alone allow (numpy only)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.encoder.options import Precision as Precision
from instruct_embeddings.encoder.options import one_of
from instruct_embeddings.errors import ConfigError, InvalidVectorsError

# As they are stored.
NUMBERS: Mapping[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "binary": np.uint8,
}
_BYTES = np.arange(256, dtype=np.uint8)[:, None]
_BITS_OF_BYTE = np.unpackbits(_BYTES, axis=1).sum(1, dtype=np.uint8)


def quantise(embeddings: FloatArray, precision: Precision) -> NDArray[Any]:
    """Store embeddings in fewer bytes.

    Args:
        embeddings: float32, shape (n, d).
        precision: "float32" changes nothing, "float16" rounds. "int8" holds whole numbers from -127
            to 127, each row scaled by its own largest number: cosines survive, lengths do not, and
            no sample is needed to calibrate. "binary" holds one bit for each number, 1 where it is
            positive, packed with the first dimension in the highest bit of the first byte (the
            "ubinary" of sentence-transformers).

    Returns:
        float32, float16 or int8 of shape (n, d), or uint8 of shape (n, d / 8).

    Raises:
        ConfigError: Unknown precision, or "binary" of a dimension that 8 does not divide.
        InvalidVectorsError: A number is NaN, infinite, or too large for float16.
    """
    one_of("precision", precision, tuple(NUMBERS))
    rows: FloatArray = _matrix("embeddings", embeddings, np.float32)
    if precision == "float32":
        return rows
    _check_finite(rows)
    if precision == "float16":
        with np.errstate(over="ignore"):
            half = rows.astype(np.float16)
        _check_finite(half)
        return half
    if precision == "int8":
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
        largest[largest == 0] = 1  # a zero row stays zero
        scaled: FloatArray = rows / largest
        scaled *= 127
        return np.rint(scaled, out=scaled).astype(np.int8)
    if rows.shape[1] % 8:
        raise ConfigError(
            f"Embeddings of {rows.shape[1]} dimensions cannot be packed to bytes: precision="
            "'binary' needs a multiple of 8. Set truncate_dim to one, or use 'int8'."
        )
    return np.packbits(rows > 0, axis=1)


def dequantise(stored: NDArray[Any], precision: Precision) -> FloatArray:
    """Numbers to compute with, from stored ones.

    Args:
        stored: What `quantise` returned.
        precision: The one it was given.

    Returns:
        float32, shape (n, d). From "int8" the rows up to their lengths, the largest number being 1
        or -1; from "binary" the signs, 1 and -1.

    Raises:
        ConfigError: Unknown precision, or numbers of another type.
    """
    one_of("precision", precision, tuple(NUMBERS))
    rows = _matrix("stored", stored, NUMBERS[precision])
    if precision == "binary":
        return _signs(rows, np.float32)
    if precision == "int8":
        return rows.astype(np.float32) / np.float32(127)
    return rows.astype(np.float32, copy=False)


def float_rows(stored: NDArray[Any], precision: Precision) -> FloatArray:
    """Numbers for vector stores, which compare floats.

    Args:
        stored: What `quantise` returned.
        precision: The one it was given.

    Returns:
        float32, shape (n, d): whole numbers from "int8", 1 and -1 from "binary". Both compare by
        cosine.
    """
    if precision == "binary":
        return dequantise(stored, precision)
    return stored.astype(np.float32, copy=False)


def to_floats(stored: NDArray[Any], precision: Precision) -> list[list[float]]:
    """The same as Python floats, the only numbers that all vector stores take."""
    # Row by row, so that other threads and the event loop get their turn in between.
    return [row.tolist() for row in float_rows(stored, precision)]


def unit_truncate(embeddings: FloatArray, dim: int) -> FloatArray:
    """Keep the first dimensions (Matryoshka, Kusupati et al., 2022) and scale to unit length again.

    Args:
        embeddings: Shape (n, d).
        dim: Dimensions to keep.

    Returns:
        float32, shape (n, dim); rows that are zero in all of these dimensions stay zero.

    Raises:
        ConfigError: `dim` is not a whole number from 1 to d.
    """
    rows = _matrix("embeddings", embeddings, np.float32)
    if not _is_whole(dim) or not 1 <= dim <= rows.shape[1]:
        raise ConfigError(
            f"dim={dim!r} is not a whole number from 1 to {rows.shape[1]}, the length of the "
            "embeddings. Choose one that is, or leave truncation out."
        )
    kept = rows[:, :dim]
    norms = np.linalg.norm(kept, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(kept, norms, out=np.zeros_like(kept), where=norms > 0)
    return scaled


def hamming_distances(queries: NDArray[np.uint8], documents: NDArray[np.uint8]) -> IntArray:
    """Number of dimensions in which signs differ: (d - dot product of the signs) / 2.

    Args:
        queries: Packed signs, shape (q, d / 8).
        documents: Packed signs, shape (n, d / 8).

    Returns:
        Shape (q, n).

    Raises:
        ConfigError: The two do not fit together.
    """
    asked = _matrix("queries", queries, np.uint8)
    columns = _word_columns(_matrix("documents", documents, np.uint8, asked.shape[1]))
    found = np.empty((len(asked), columns.shape[1]), dtype=np.int64)
    for row, words in zip(found, _word_columns(asked).T, strict=True):
        row[:] = _distances(words, columns)
    return found


def binary_search(
    queries: FloatArray, documents: NDArray[np.uint8], *, k: int, oversample: int = 4
) -> tuple[IntArray, FloatArray]:
    """Nearest documents of which only the signs are stored.

    The Hamming distance between signs chooses `k * oversample` candidates; these are ranked again
    by the inner product of the full query and the documents' signs, which costs no further memory
    (BPR, Yamada et al., 2021, section 3). Ties go to the lower row.

    Args:
        queries: Shape (q, d).
        documents: Packed signs as of `quantise(..., "binary")`, shape (n, d / 8).
        k: Documents to return for each query; all of them where there are fewer.
        oversample: Candidates for each document returned.

    Returns:
        Rows of the documents, best first, and their inner products; both of shape (q, min(k, n)).

    Raises:
        ConfigError: `k` or `oversample` is below 1, or queries and documents do not fit together.
        InvalidVectorsError: A query holds NaN or infinite numbers.
    """
    for name, value in (("k", k), ("oversample", oversample)):
        if not _is_whole(value) or value < 1:
            raise ConfigError(f"{name}={value!r} is not a whole number of at least 1.")
    asked = _matrix("queries", queries, np.float32)
    bits = quantise(asked, "binary")
    held = _matrix("documents", documents, np.uint8, bits.shape[1])
    columns = _word_columns(held)
    shape = (len(asked), min(k, len(held)))
    rows, scores = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
    for i, words in enumerate(_word_columns(bits).T):
        candidates = _nearest(_distances(words, columns), k * oversample)
        # Summed in float64 and rounded, equal documents have equal scores wherever they stand.
        products = _signs(held[candidates], np.float64) @ asked[i].astype(np.float64)
        rounded = products.astype(np.float32)
        order = np.lexsort((candidates, -rounded))[:k]
        rows[i], scores[i] = candidates[order], rounded[order]
    return rows, scores


def _nearest(distances: IntArray, count: int) -> IntArray:
    """Positions of the `count` smallest distances in no order; ties go to the lower position."""
    n = len(distances)
    if count >= n:
        return np.arange(n)
    keys = distances * n + np.arange(n)  # no two alike
    nearest: IntArray = np.partition(keys, count - 1)[:count] % n
    return nearest


def _word_columns(packed: NDArray[np.uint8]) -> NDArray[Any]:
    """Bytes read as the widest words that fit, shape (n, bytes) to (words, n)."""
    size = next(s for s in (8, 4, 2, 1) if packed.shape[1] % s == 0)
    return np.ascontiguousarray(np.ascontiguousarray(packed).view(f"u{size}").T)


def _distances(query: NDArray[Any], columns: NDArray[Any]) -> IntArray:
    """Shapes (words,) and (words, n) to (n,)."""
    differing = _count_bits(columns ^ query[:, None])
    return np.asarray(differing.sum(axis=0, dtype=np.int64))


def _count_by_table(words: NDArray[Any]) -> NDArray[np.uint8]:
    counts = _BITS_OF_BYTE[np.ascontiguousarray(words).view(np.uint8)]
    return np.asarray(counts.reshape(*words.shape, words.itemsize).sum(-1, dtype=np.uint8))


# numpy 1.26 cannot count bits.
_count_bits = np.bitwise_count if hasattr(np, "bitwise_count") else _count_by_table


def _signs(packed: NDArray[np.uint8], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Shape (n, d / 8) to (n, d), of 1 and -1."""
    return np.unpackbits(packed, axis=1).astype(dtype) * 2 - 1


def _matrix(
    name: str, values: NDArray[Any], dtype: type[np.generic], width: int | None = None
) -> NDArray[Any]:
    array = np.asarray(values)
    if dtype is np.float32 and np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
    wanted = f"(n, {'d' if width is None else width})"
    if array.ndim != 2 or array.dtype != dtype or width not in (None, array.shape[1]):
        raise ConfigError(
            f"{name} is an array of {array.dtype} and shape {array.shape}; {dtype.__name__} of "
            f"shape {wanted} is needed. Check that both sides come from the same model and setting."
        )
    return array


def _check_finite(rows: NDArray[np.floating[Any]]) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidVectorsError(
            f"Embedding {row} holds NaN, infinite numbers, or numbers too large for "
            f"{rows.dtype}; only finite ones can be stored. Look at its text, and normalise."
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
