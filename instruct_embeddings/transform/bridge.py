"""Query drift: a collection embedded by an older model, queries by a newer one.

Embeddings of two models of the same texts are close to a linear map of each other: a rotation
(Schoenemann, 1966), or ridge regression, which may also stretch and drop directions and needs more
texts. Held-out texts decide.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._printable import printed
from instruct_embeddings._reading import read_plain
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings._version import __version__
from instruct_embeddings.errors import CollectionMismatchError, ConfigError, InvalidVectorsError
from instruct_embeddings.transform.files import describe, pack, read_limited, unpack, write_whole
from instruct_embeddings.transform.quality import (
    best_mean,
    choose,
    depth,
    exceeds_chance,
    mean_quality,
    precision_at_k,
    standard_error,
)
from instruct_embeddings.transform.regression import fit_ridge_map
from instruct_embeddings.transform.vectors import has_direction, unit_rows

FORMAT_VERSION = 1
_HEADER = "instruct_embeddings_bridge"
_REMEDY = "Fit it again with fit_bridge(), or pass what QueryBridge.save() wrote."

Embedded: TypeAlias = Callable[[Sequence[str]], ArrayLike] | ArrayLike
"""Embeds n texts to shape (n, d), or such vectors themselves."""

MIN_TEXTS = 24
_FOLDS = 3
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
_BLOCK = 512

_Setting: TypeAlias = tuple[str, float | None]
_IDENTITY: _Setting = ("identity", None)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BridgeReport:
    """How well mapped queries find what queries of the old model found.

    Each text was a query once, mapped by a bridge that was fitted without it. Agreement is the
    share of the best `k` other texts that the query's own old vector ranks there too.

    Attributes:
        rows: Texts of the sample that were used.
        k: Results compared.
        method: What maps: `identity`, `procrustes` (a rotation) or `ridge` (any linear map).
        strength: Inverse penalty of ridge regression; None for the other two.
        agreement: Mean agreement.
        agreement_error: Its standard error.
        cosine: Mean cosine of mapped queries and their old vectors.
        unbridged: Mean agreement of the new vectors as they are; None where dimensions differ.
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
            f"{self.cosine:.3f}\n{learned}; map: {self.method}{strength}"
        )


@dataclass(frozen=True, eq=False)
class QueryBridge:
    """Maps query vectors of a new model to where the old model would have put them.

    The collection stays as the old model filled it, and its transforms serve on.

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
        """Queries in the old space, shape (n, d_new) to unit rows of shape (n, d_old).

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
        """Write one file: safetensors, with a description as JSON in the header.

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
    """The reverse of `to_bytes`; an `ArtefactError` for bytes that are no bridge of ours."""
    about = describe(data, _HEADER, (FORMAT_VERSION,), what="query bridge", remedy=_REMEDY)

    def build(tensors: Mapping[str, FloatArray]) -> QueryBridge:
        weights, bias = tensors["weights"], tensors["bias"]
        if weights.ndim != 2 or bias.shape != weights.shape[:1] or not weights.size:
            raise ValueError(f"shapes {weights.shape} and {bias.shape} do not fit together")
        report = read_plain(BridgeReport, about["report"])
        names = [read_plain(str, about[name]) for name in ("old_model", "new_model")]
        return QueryBridge(weights, bias, report, *names)

    return unpack(data, build, what="bridge", remedy=_REMEDY)


def fit_bridge(
    old: Embedded,
    new: Embedded,
    sample: Sequence[str],
    *,
    old_model: str = "",
    new_model: str = "",
    seed: int = 0,
) -> QueryBridge:
    """Learn to map queries of a new model into the space of an old one.

        bridge = fit_bridge(old_model.embed_documents, new_model.embed_documents, texts)
        print(bridge.report)

    The models may differ in dimension. A thousand texts that look like the collection's queries
    serve best; where the old model can no longer be run, pass texts of the collection and the
    vectors stored for them.

    Args:
        old: Embeds as the model that filled the collection, n texts to shape (n, d_old); or the
            vectors it made of the sample.
        new: Embeds as the model of the queries, to shape (n, d_new); or its vectors.
        sample: At least 24 different texts; repeated ones count once.
        old_model: Name of the old model, kept with the bridge.
        new_model: Name of the new model.
        seed: Seed of the folds.

    Raises:
        ConfigError: There are too few texts, or not one vector a text.
        InvalidVectorsError: Too few texts have vectors with a direction in both models.
    """
    started = time.perf_counter()
    if isinstance(sample, str):
        raise ConfigError("sample is one text; a bridge is fitted on many. Pass a list of texts.")
    # A held-out text must not be among the fitted ones.
    first: dict[str, int] = {}
    for index, text in enumerate(sample):
        first.setdefault(text, index)
    if len(first) < MIN_TEXTS:
        raise ConfigError(
            f"The sample holds {len(first)} different texts; at least {MIN_TEXTS} are needed, and "
            "a thousand serve well. Pass texts of the collection or of queries."
        )
    x = _vectors(new, first, len(sample), "new")
    y = _vectors(old, first, len(sample), "old")
    usable = has_direction(x) & has_direction(y)
    if usable.sum() < MIN_TEXTS:
        raise InvalidVectorsError(
            f"Only {usable.sum()} of {len(usable)} texts have vectors with a direction in both "
            f"models; at least {MIN_TEXTS} are needed. Look for zeros, NaN and infinite numbers."
        )
    if left_out := int((~usable).sum()):
        told = f"{left_out} of {len(usable)} texts have no direction in one of the models"
        _log.warning(f"{told} and are left out")
    x, y = unit_rows(x[usable]), unit_rows(y[usable])
    agreements, cosines = _held_out(x, y, seed)
    chosen, honest = choose(agreements, best_mean)
    plain = agreements.get(_IDENTITY)
    report = BridgeReport(
        rows=len(x),
        k=depth(len(x)),
        method=chosen[0],
        strength=chosen[1],
        agreement=mean_quality([honest]),
        agreement_error=standard_error(honest),
        cosine=mean_quality(cosines[chosen]),
        unbridged=None if plain is None else mean_quality(plain),
        unbridged_cosine=None if plain is None else mean_quality(cosines[_IDENTITY]),
        gain_error=0.0 if plain is None else standard_error(honest - np.concatenate(plain)),
        tried={
            method if strength is None else f"{method} {strength:g}": mean_quality(folds)
            for (method, strength), folds in agreements.items()
        },
        seconds=time.perf_counter() - started,
    )
    return QueryBridge(*_fit(chosen, x, y), report, old_model, new_model)


def agreement(mapped: FloatArray, y: FloatArray, own: IntArray) -> FloatArray:
    """Share of the best `depth(n)` rows of the old model that mapped queries find, shape (q,).

    Unit rows `mapped`, shape (q, d), and `y`, shape (n, d); `own` holds the row of each query,
    which it cannot find, shape (q,).
    """
    k = depth(len(y))
    found = []
    for start in range(0, len(own), _BLOCK):
        rows = own[start : start + _BLOCK]
        each = np.arange(len(rows))
        old, new = y[rows] @ y.T, mapped[start : start + _BLOCK] @ y.T
        old[each, rows] = new[each, rows] = -np.inf
        best = np.argpartition(-old, k - 1, axis=1)[:, :k]
        relevant = np.zeros(old.shape, dtype=np.bool_)
        np.put_along_axis(relevant, best, values=True, axis=1)
        found.append(precision_at_k(new, relevant, k))
    return np.concatenate(found)


def _vectors(source: Embedded, first: dict[str, int], given: int, side: str) -> FloatArray:
    """One vector for each different text, shape (n, d)."""
    count = len(first) if callable(source) else given
    vectors = np.asarray(source(list(first)) if callable(source) else source, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ConfigError(
            f"The vectors of the {side} model must have the shape ({count}, d) for {count} texts, "
            f"got {vectors.shape}. Pass one vector for each text of the sample, in its order."
        )
    return vectors if callable(source) else vectors[list(first.values())]


def _held_out(
    x: FloatArray, y: FloatArray, seed: int
) -> tuple[dict[_Setting, list[FloatArray]], dict[_Setting, list[FloatArray]]]:
    """Agreement and cosine of each held-out text for each map, one array a fold."""
    # The simplest first: it is kept where others are only as good.
    settings = [_IDENTITY] if x.shape[1] == y.shape[1] else []
    settings += [("procrustes", None), *(("ridge", strength) for strength in _STRENGTHS)]
    agreements: dict[_Setting, list[FloatArray]] = {setting: [] for setting in settings}
    cosines: dict[_Setting, list[FloatArray]] = {setting: [] for setting in settings}
    order = np.random.default_rng(seed).permutation(len(x))
    for held in np.array_split(order, _FOLDS):
        rest = np.setdiff1d(order, held)
        for setting in settings:
            weights, bias = _fit(setting, x[rest], y[rest])
            mapped = unit_rows(x[held] @ weights.T + bias)
            agreements[setting].append(agreement(mapped, y, held))
            cosines[setting].append((mapped * y[held]).sum(1))
    return agreements, cosines


def _fit(setting: _Setting, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights (d_old, d_new) and bias from unit rows x (n, d_new) and y (n, d_old)."""
    method, strength = setting
    if method == "identity":
        return np.eye(x.shape[1], dtype=np.float32), np.zeros(x.shape[1], dtype=np.float32)
    if strength is None:
        return _rotate(x, y)
    weights, bias = fit_ridge_map(x, y, strength)
    return weights, bias + y.mean(0)


def _rotate(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthogonal Procrustes of centred rows with one scale; semi-orthogonal for a rectangle."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred_x, centred_y = (x - mean_x).astype(np.float64), (y - mean_y).astype(np.float64)
    left, sizes, right = np.linalg.svd(centred_y.T @ centred_x, full_matrices=False)
    rotation = left @ right
    spread = float(np.square(centred_x @ rotation.T).sum())
    # The scale that brings the rotated rows closest; 1 where the rows do not differ at all.
    weights = (sizes.sum() / spread if spread > 0 else 1.0) * rotation
    return weights.astype(np.float32), (mean_y - weights @ mean_x).astype(np.float32)
