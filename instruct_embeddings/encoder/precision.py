"""Output dtypes: embeddings in fewer bytes (numpy only)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import Precision, one_of
from instruct_embeddings.errors import ConfigError, InvalidVectorsError

DTYPES: Mapping[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "binary": np.uint8,
}
_BIT_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


def quantise(embeddings: FloatArray, precision: Precision) -> NDArray[Any]:
    """Store embeddings in fewer bytes.

    Args:
        embeddings: float32, shape (n, d).
        precision: "float32" changes nothing, "float16" rounds. "int8" holds integers from -127
            to 127, each row scaled by its own largest number: cosines survive, lengths do not, and
            no sample is needed to calibrate. "binary" holds one bit for each number, 1 where it is
            positive, packed with the first dimension in the highest bit of the first byte (the
            "ubinary" of sentence-transformers).

    Returns:
        float32, float16 or int8 of shape (n, d), or uint8 of shape (n, d / 8).

    Raises:
        ConfigError: Unknown precision, another shape, or "binary" of a dimension that 8 does not
            divide.
        InvalidVectorsError: A number is NaN, infinite, or too large for float16.
    """
    one_of("precision", precision, tuple(DTYPES))
    rows: FloatArray = np.asarray(embeddings)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating):
        raise ConfigError(f"Got {rows.dtype} of shape {rows.shape}, not floats of shape (n, d).")
    rows = rows.astype(np.float32, copy=False)
    if precision == "float32":
        return rows
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16) if precision == "float16" else rows
    if not (finite := np.isfinite(half).all(axis=1)).all():
        raise InvalidVectorsError(
            f"Embedding {int(np.argmin(finite))} holds NaN, infinite numbers, or numbers too large "
            f"for {precision}; only finite ones can be stored. Look at its text, and normalise."
        )
    if precision == "float16":
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


def float_rows(stored: NDArray[Any], precision: Precision) -> FloatArray:
    """Numbers for vector stores, which compare floats.

    Args:
        stored: What `quantise` returned.
        precision: The one it was given.

    Returns:
        float32, shape (n, d): integers from "int8", 1 and -1 from "binary". Both compare by
        cosine.
    """
    if precision == "binary":
        return np.unpackbits(stored, axis=1).astype(np.float32) * 2 - 1
    return stored.astype(np.float32, copy=False)


def binary_search(
    queries: FloatArray, documents: NDArray[np.uint8], *, k: int, oversample: int = 4
) -> tuple[IntArray, FloatArray]:
    """Nearest documents of which only the signs are stored.

    The Hamming distance between signs chooses `k * oversample` candidates; these are ranked by the
    inner product of the full query and the documents' signs (BPR, Yamada et al., 2021, section 3).
    Ties go to the lower row.

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
        at_least(name, value, 1, optional=False)
    bits = quantise(queries, "binary")
    if documents.dtype != np.uint8 or documents.shape[1:] != bits.shape[1:]:
        raise ConfigError(
            f"documents is an array of {documents.dtype} and shape {documents.shape}; uint8 of "
            f"shape (n, {bits.shape[1]}) is needed. Embed both sides with the same model."
        )
    shape = (len(bits), min(k, len(documents)))
    rows, scores = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
    for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
        distances = _BIT_COUNTS[documents ^ bits[i]].sum(axis=1, dtype=np.int64)
        candidates = np.argsort(distances, kind="stable")[: k * oversample]
        # Summed in float64 and rounded, equal documents have equal scores wherever they stand.
        found = (float_rows(documents[candidates], "binary") @ query).astype(np.float32)
        order = np.lexsort((candidates, -found))[:k]
        rows[i], scores[i] = candidates[order], found[order]
    return rows, scores
