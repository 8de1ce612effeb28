"""Query drift: a collection embedded by an older model, queries by a newer one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._printable import printed
from instruct_embeddings._reading import brief, read_plain
from instruct_embeddings._types import FloatArray
from instruct_embeddings._version import __version__
from instruct_embeddings.errors import (
    ArtefactError,
    CollectionMismatchError,
    ConfigError,
    InvalidVectorsError,
)
from instruct_embeddings.transform.files import (
    MALFORMED,
    check_tensors,
    describe,
    pack,
    read_limited,
    write_whole,
)
from instruct_embeddings.transform.quality import exceeds_chance
from instruct_embeddings.transform.vectors import has_direction, unit_rows

FORMAT_VERSION = 1
_HEADER = "instruct_embeddings_bridge"
_REMEDY = "Fit it again with fit_bridge(), or pass what QueryBridge.save() wrote."


@dataclass(frozen=True)
class BridgeReport:
    """How well mapped queries find what queries of the old model found.

    Each text of the sample was a query once, mapped by a bridge that was fitted without it, and
    ranked all other texts by their old vectors. Agreement is the share of the best `k` that the
    query's own old vector ranks there too: 1 where nothing is lost.

    Attributes:
        rows: Texts of the sample that were used.
        k: Results compared.
        method: What maps: `identity`, `procrustes` (a rotation) or `ridge` (any linear map).
        strength: Inverse penalty of ridge regression; None for the other two.
        agreement: Mean agreement.
        agreement_error: Its standard error.
        cosine: Mean cosine of mapped queries and their old vectors.
        unbridged: Mean agreement of the new vectors as they are; None where the models differ in
            dimension, so that a query without a bridge finds nothing at all.
        unbridged_cosine: Their mean cosine with the old vectors, or None.
        gain_error: Standard error of `agreement - unbridged`; 0 where there is none.
        tried: Mean agreement of each map that was tried.
        seconds: Wall time, embedding included.
    """

    rows: int
    k: int
    method: str
    strength: float | None
    agreement: float
    agreement_error: float
    cosine: float
    unbridged: float | None
    unbridged_cosine: float | None
    gain_error: float
    tried: Mapping[str, float]
    seconds: float

    @property
    def lost(self) -> float:
        """Fraction of the old results that are replaced by others."""
        return 1.0 - self.agreement

    @property
    def gains(self) -> bool:
        """Whether it beats queries without a bridge by more than chance would give."""
        if self.unbridged is None:
            return True
        return exceeds_chance(self.agreement - self.unbridged, self.gain_error)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @printed
    def __str__(self) -> str:
        """Three readable lines."""
        if self.unbridged is None:
            without = "without a bridge nothing, since the dimensions differ"
        else:
            without = f"without a bridge {self.unbridged:.3f}"
        strength = "" if self.strength is None else f", strength {self.strength:g}"
        learned = f"learned from {self.rows:,} texts in {self.seconds:.1f} s"
        return (
            f"agreement@{self.k} with the ranking of the old model on held-out texts: "
            f"{self.agreement:.3f} (standard error {self.agreement_error:.3f}), {without}\n"
            f"lost: {self.lost:.1%} of the results; mean cosine with the old vectors "
            f"{self.cosine:.3f}\n"
            f"{learned}; map: {self.method}{strength}"
        )


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
        """Dimension of the vectors that come out."""
        return int(self.weights.shape[0])

    @property
    def new_dimension(self) -> int:
        """Dimension of the vectors that go in."""
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
                f"{self.new_model!r}, got the shape {rows.shape}. Pass what the new model made; "
                "vectors of the old model need no bridge."
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
            ArtefactError: The file is damaged, of another kind, or written by a newer version.
            OSError: It is not there or cannot be read.
        """
        return from_bytes(read_limited(Path(path).expanduser()))


def to_bytes(bridge: QueryBridge) -> bytes:
    """Serialise a bridge; equal bridges give equal bytes."""
    about = {
        "format_version": FORMAT_VERSION,
        "written_by": __version__,
        "old_model": bridge.old_model,
        "new_model": bridge.new_model,
        "report": bridge.report.to_dict(),
    }
    return pack({"weights": bridge.weights, "bias": bridge.bias}, _HEADER, about)


def from_bytes(data: bytes) -> QueryBridge:
    """The reverse of `to_bytes`.

    Raises:
        ArtefactError: The bytes are damaged, of another kind, or written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about = describe(data, _HEADER, (FORMAT_VERSION,), what="query bridge", remedy=_REMEDY)
    try:
        tensors = load(data)
        bridge = QueryBridge(
            weights=tensors["weights"],
            bias=tensors["bias"],
            report=read_plain(BridgeReport, about["report"]),
            old_model=read_plain(str, about["old_model"]),
            new_model=read_plain(str, about["new_model"]),
        )
        check_tensors(tensors)
        weights, bias = bridge.weights, bridge.bias
        if weights.ndim != 2 or bias.shape != weights.shape[:1] or not weights.size:
            raise ValueError(f"shapes {weights.shape} and {bias.shape} do not fit together")
    except (SafetensorError, *MALFORMED) as exc:
        raise ArtefactError(
            f"The bridge is damaged or incomplete ({brief(exc)}). Fit it again with fit_bridge()."
        ) from exc
    return bridge
