"""Fit a query bridge: orthogonal Procrustes beside ridge regression, chosen on held-out texts.

Embeddings of two models of the same texts are close to a linear map of each other. A rotation
(Schoenemann, 1966) has the fewest free parameters and keeps all angles; ridge regression may also
stretch and drop directions, and needs more texts for it. Which of them serves is a matter of the
models and of the size of the sample, so held-out texts decide.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import ConfigError, InvalidVectorsError
from instruct_embeddings.transform.bridge import BridgeReport, QueryBridge
from instruct_embeddings.transform.quality import (
    choose,
    depth,
    mean_quality,
    precision_at_k,
    standard_error,
)
from instruct_embeddings.transform.regression import fit_ridge_map
from instruct_embeddings.transform.vectors import has_direction, unit_rows

Embedded: TypeAlias = Callable[[Sequence[str]], ArrayLike] | ArrayLike
"""Embeds n texts to shape (n, d), or such vectors themselves."""

MIN_TEXTS = 24
_FOLDS = 3
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
_BLOCK = 512

_Map: TypeAlias = tuple[FloatArray, FloatArray]
_Setting: TypeAlias = tuple[str, float | None]
_IDENTITY: _Setting = ("identity", None)

_log = logging.getLogger(__name__)


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
        old_model: Name of the old model, kept for the reader.
        new_model: Name of the new model, likewise.
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
    if not usable.all():
        without = len(usable) - usable.sum()
        _log.warning(
            "%d of %d texts have no direction in one of the models and are left out",
            without,
            len(usable),
        )
    x, y = unit_rows(x[usable]), unit_rows(y[usable])
    agreements, cosines = _held_out(x, y, seed)
    chosen, honest = choose(agreements, lambda means: max(means, key=means.__getitem__))
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
        tried={_name(one): mean_quality(folds) for one, folds in agreements.items()},
        seconds=time.perf_counter() - started,
    )
    weights, bias = _fit(chosen, x, y)
    return QueryBridge(weights, bias, report, old_model, new_model)


def agreement(mapped: FloatArray, y: FloatArray, own: IntArray) -> FloatArray:
    """Share of the old model's best rows that mapped queries find.

    Args:
        mapped: Unit rows in the old space, shape (q, d).
        y: Unit rows of the old model, shape (n, d).
        own: Row of each query, which it cannot find, shape (q,).

    Returns:
        Shape (q,), for as many best rows as `depth(n)` says.
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
    if callable(source):
        vectors, count = np.asarray(source(list(first)), dtype=np.float32), len(first)
    else:
        vectors, count = np.asarray(source, dtype=np.float32), given
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


def _name(setting: _Setting) -> str:
    method, strength = setting
    return method if strength is None else f"{method} {strength:g}"


def _fit(setting: _Setting, x: FloatArray, y: FloatArray) -> _Map:
    """Weights (d_old, d_new) and bias from unit rows x (n, d_new) and y (n, d_old)."""
    method, strength = setting
    if method == "identity":
        return np.eye(x.shape[1], dtype=np.float32), np.zeros(x.shape[1], dtype=np.float32)
    if strength is None:
        return _rotate(x, y)
    weights, bias = fit_ridge_map(x, y, strength)
    return weights, bias + y.mean(0)


def _rotate(x: FloatArray, y: FloatArray) -> _Map:
    """Orthogonal Procrustes of centred rows with one scale; semi-orthogonal for a rectangle."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred_x, centred_y = (x - mean_x).astype(np.float64), (y - mean_y).astype(np.float64)
    left, sizes, right = np.linalg.svd(centred_y.T @ centred_x, full_matrices=False)
    rotation = left @ right
    spread = float(np.square(centred_x @ rotation.T).sum())
    # The scale that brings the rotated rows closest; 1 where the rows do not differ at all.
    weights = (sizes.sum() / spread if spread > 0 else 1.0) * rotation
    return weights.astype(np.float32), (mean_y - weights @ mean_x).astype(np.float32)
