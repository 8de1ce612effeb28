"""Query drift: a collection embedded by an older model, queries by a newer one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._reading import brief, parse_json, safetensors_header
from instruct_embeddings._types import FloatArray
from instruct_embeddings._version import __version__
from instruct_embeddings.errors import (
    ArtefactError,
    CollectionMismatchError,
    ConfigError,
    InvalidVectorsError,
)
from instruct_embeddings.transform.artefact import (
    LONGEST_AXIS,
    MALFORMED,
    MAX_BYTES,
)
from instruct_embeddings.transform.bridge_report import BridgeReport
from instruct_embeddings.transform.files import read_limited, write_whole
from instruct_embeddings.transform.vectors import has_direction, unit_rows

FORMAT_VERSION = 1
_HEADER = "instruct_embeddings_bridge"
# Products of larger numbers would overflow.
_LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class QueryBridge:
    """Maps query vectors of a new model to where the old model would have put them.

    The collection stays as the old model filled it, and transforms that were fitted on it go on to
    serve. Made by `fit_bridge`.

        bridge = QueryBridge.load("bridge.safetensors")
        retriever.search(bridge.query(new_model.embed_query(text)), instruction=...)

    Attributes:
        weights: Shape (d_old, d_new).
        bias: Shape (d_old,).
        report: What is kept and what is lost.
        old_model: Name of the model that filled the collection; may be empty.
        new_model: Name of the model that embeds queries; may be empty.
    """

    weights: FloatArray
    bias: FloatArray
    report: BridgeReport
    old_model: str = ""
    new_model: str = ""

    @property
    def old_dimension(self) -> int:
        """Length of the vectors that come out."""
        return int(self.weights.shape[0])

    @property
    def new_dimension(self) -> int:
        """Length of the vectors that go in."""
        return int(self.weights.shape[1])

    def map(self, vectors: ArrayLike) -> FloatArray:
        """Queries in the old space.

        Args:
            vectors: Vectors of the new model, shape (n, d_new).

        Returns:
            Unit rows, shape (n, d_old).

        Raises:
            CollectionMismatchError: The vectors do not have the dimension of the new model.
            InvalidVectorsError: One is zero, or holds NaN or infinite numbers.
        """
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.new_dimension:
            raise CollectionMismatchError(
                f"The bridge maps vectors of shape (n, {self.new_dimension}) of the model "
                f"{self.new_model!r}, and got the shape {rows.shape}. Pass what the new model "
                "made; vectors of the old model need no bridge."
            )
        usable = has_direction(rows)
        if not usable.all():
            raise InvalidVectorsError(
                f"Query vector {int(np.argmin(usable))} is zero or holds NaN or infinite numbers, "
                "so it has no direction. Look at the text and the model that produced it."
            )
        return unit_rows(unit_rows(rows) @ self.weights.T + self.bias)

    def query(self, vector: ArrayLike) -> FloatArray:
        """One query in the old space, shape (d_new,) to (d_old,); see `map`."""
        found: FloatArray = self.map(np.asarray(vector, dtype=np.float32)[None])[0]
        return found

    def save(self, path: str | Path) -> Path:
        """Write the bridge as one file: safetensors, with its description as JSON in the header.

        Raises:
            ConfigError: The path is a folder.
            OSError: It cannot be written; nothing is left behind.
        """
        file = Path(path).expanduser()
        if file.is_dir():
            raise ConfigError(
                f"{file} is a folder. A bridge is one file: name it, such as "
                f"{file / 'bridge.safetensors'}."
            )
        return write_whole(file, to_bytes(self))

    @classmethod
    def load(cls, path: str | Path) -> "QueryBridge":
        """Read what `save` wrote.

        Raises:
            ArtefactError: The file is damaged, foreign, or written by a newer version.
            OSError: It is not there or cannot be read.
        """
        return from_bytes(read_limited(Path(path).expanduser(), MAX_BYTES))


def to_bytes(bridge: QueryBridge) -> bytes:
    """Serialise a bridge; equal bridges give equal bytes."""
    from safetensors.numpy import save

    about = {
        "format_version": FORMAT_VERSION,
        "written_by": __version__,
        "old_model": bridge.old_model,
        "new_model": bridge.new_model,
        "report": bridge.report.to_dict(),
    }
    tensors = {"weights": bridge.weights, "bias": bridge.bias}
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return save(contiguous, metadata={_HEADER: json.dumps(about)})


def from_bytes(data: bytes) -> QueryBridge:
    """The reverse of `to_bytes`.

    Raises:
        ArtefactError: The bytes are damaged, foreign, or written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about = _description(data)
    try:
        tensors = load(data)
        bridge = QueryBridge(
            weights=tensors["weights"],
            bias=tensors["bias"],
            report=BridgeReport.from_dict(about["report"]),
            old_model=about["old_model"],
            new_model=about["new_model"],
        )
        _check(bridge)
    except (SafetensorError, *MALFORMED) as exc:
        raise ArtefactError(
            f"The bridge is damaged or incomplete ({brief(exc)}). Fit it again with fit_bridge()."
        ) from exc
    return bridge


def _description(data: bytes) -> dict[str, Any]:
    try:
        header = safetensors_header(data)
        about = parse_json(header["__metadata__"][_HEADER])
        version = about["format_version"]
    except MALFORMED as exc:
        raise ArtefactError(
            f"The file is not a query bridge of this package, or it is cut off ({brief(exc)}). "
            "Pass what QueryBridge.save() wrote, or fit the bridge again with fit_bridge()."
        ) from exc
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ArtefactError(
            f"The bridge has format_version {version!r:.60}; this version ({__version__}) reads "
            f"{FORMAT_VERSION}. Upgrade the package, or fit the bridge again."
        )
    return dict(about)


def _check(bridge: QueryBridge) -> None:
    """Refuse what would fail only when a query is mapped, or when the report is read."""
    weights, bias = bridge.weights, bridge.bias
    if weights.ndim != 2 or bias.shape != weights.shape[:1] or not weights.size:
        raise ValueError(f"shapes {weights.shape} and {bias.shape} do not fit together")
    if max(weights.shape) > LONGEST_AXIS:
        raise ValueError(f"an axis of {weights.shape} is longer than {LONGEST_AXIS:,}")
    if {weights.dtype, bias.dtype} != {np.dtype(np.float32)}:
        raise ValueError(f"numbers are {weights.dtype} and {bias.dtype}, not float32")
    for values in (weights, bias):
        # Written so that it is refused where a comparison with NaN says no.
        if not np.abs(values).max() <= _LARGEST:
            raise ValueError(f"it holds numbers that are not finite, or larger than {_LARGEST:g}")
    if not (isinstance(bridge.old_model, str) and isinstance(bridge.new_model, str)):
        raise ValueError("names of models are text")
    bridge.report.check()
