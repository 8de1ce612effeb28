"""LangChain's texts and rows, and those of the encoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.encoder.options import Precision
from instruct_embeddings.encoder.precision import dequantise


def one_text(text: str) -> list[str]:
    """A query as the encoder takes it.

    Raises:
        TypeError: It is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"A query is one text, got {type(text).__name__}. Pass a str, or use "
            "embed_documents() for a list of texts."
        )
    return [text]


def to_floats(rows: NDArray[Any], precision: Precision) -> list[list[float]]:
    """Python floats, the only numbers that all vector stores accept.

    Args:
        rows: What the encoder returned: shape (n, d), or (n, d / 8) for "binary".
        precision: In which it did.

    Returns:
        n rows of d numbers: whole ones from "int8", 1 and -1 from "binary".
    """
    if precision == "binary":
        rows = dequantise(rows, precision)
    elif precision == "int8":
        rows = rows.astype(np.float32)
    # Row by row, so that other threads and the event loop get their turn in between.
    return [row.tolist() for row in rows]
