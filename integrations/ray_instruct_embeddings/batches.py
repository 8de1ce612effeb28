"""Batches of Ray Data, whichever of its three formats they have."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray, Metadata
from instruct_embeddings.errors import ConfigError, InvalidVectorsError

# Comes with the extra, as a dependency of Ray Data.
pa = require("pyarrow", extra="ray")

# A mapping of numpy arrays, a `pandas.DataFrame` or a `pyarrow.Table`.
Batch: TypeAlias = Any


def names(batch: Batch) -> list[str]:
    """Names of the columns."""
    if isinstance(batch, pa.Table):
        return list(batch.column_names)
    return [str(name) for name in batch]


def values(batch: Batch, name: str) -> list[Any]:
    """A column as values of Python.

    Raises:
        ConfigError: There is no such column.
    """
    if name not in names(batch):
        raise ConfigError(
            f"The data set has no column {name!r}, only {', '.join(map(repr, names(batch)))}. "
            "Name one of these."
        )
    column: Any = batch[name]
    if isinstance(batch, pa.Table):
        return list(column.to_pylist())
    return list(column.tolist() if hasattr(column, "tolist") else column)


def vectors(batch: Batch, name: str) -> FloatArray:
    """A column of vectors, shape (n, d).

    Raises:
        InvalidVectorsError: They are no finite numbers, or differ in length.
    """
    rows = values(batch, name)
    try:
        found = np.array([np.asarray(one) for one in rows], dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InvalidVectorsError(
            f"The column {name!r} holds no vectors of one length ({exc}). Name the column that "
            "EmbedTexts added."
        ) from exc
    if found.ndim != 2 or not np.isfinite(found).all():
        raise InvalidVectorsError(
            f"The column {name!r} holds no finite vectors, or none of one length: an array of "
            f"shape {found.shape}. Name the column that EmbedTexts added."
        )
    return found


def with_vectors(batch: Batch, name: str, rows: NDArray[Any]) -> Batch:
    """The batch with one more column, or another in its place; the given batch is not altered."""
    if isinstance(batch, pa.Table):
        flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
        kept = batch.drop_columns([name]) if name in batch.column_names else batch
        return kept.append_column(name, column)
    if isinstance(batch, Mapping):
        return {**batch, name: rows}
    return batch.assign(**{name: list(rows)})


def is_missing(value: object) -> bool:
    """Whether a row has no value: None, or NaN, which pandas and numpy put in its place."""
    return value is None or (isinstance(value, float) and value != value)


def mappings(batch: Batch, columns: Sequence[str], rows: int) -> list[Metadata]:
    """Some columns row by row, without missing values."""
    found: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name in columns:
        for row, value in zip(found, values(batch, name), strict=True):
            if not is_missing(value):
                row[name] = value
    return [*found]
