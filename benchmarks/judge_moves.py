"""Other ways to move a query vector by what a judge said of candidates.

All take the query's unit vector of shape (d,), the candidates' unit vectors (n, d) and their
relevance in [0, 1] (n,), and give a unit vector of shape (d,).
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray
from instruct_embeddings.feedback.regression import relevance_direction
from instruct_embeddings.retrieval.judged_search import STRENGTH
from instruct_embeddings.transform.vectors import unit_rows

Move: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

RIDGE = "ridge regression (ours)"
ADAM, REFIT = "100 steps of Adam, as published", "100 steps of Adam, ReFIT's settings"
_STEPS = 100
# Chosen as the best of a few on half of the sets.
_ROCCHIO = (2.0, 0.5)
_TEACHER, _STUDENT, _STAY = 0.25, 0.5, 0.1
_NEWTON_STEPS, _EXACT = 30, 1e-6
_HALVES = tuple(0.5**halvings for halvings in range(12))


def moves() -> dict[str, Move]:
    """The ways by name; the first is that of the package."""
    return {
        RIDGE: ridge,
        "Rocchio, 0.75 and 0.15": lambda q, d, r: rocchio(q, d, r, 0.75, 0.15),
        "Rocchio, 2 and 0.5": lambda q, d, r: rocchio(q, d, r, *_ROCCHIO),
        "KL divergence, Newton steps": divergence,
        ADAM: adam_published,
        REFIT: adam_refit,
    }


def ridge(query: FloatArray, documents: FloatArray, relevance: FloatArray) -> FloatArray:
    """What `RelevanceFeedback` does with a judge that it trusts."""
    moved = query + np.float32(STRENGTH) * relevance_direction(documents, relevance)
    return np.asarray(unit_rows(moved[None])[0])


def rocchio(
    query: FloatArray, documents: FloatArray, relevance: FloatArray, towards: float, away: float
) -> FloatArray:
    """Towards the mean of what is relevant and away from that of what is not (Rocchio, 1971)."""
    moved = query.astype(np.float64)
    for weights, share in ((relevance, towards), (1 - relevance, -away)):
        if weights.sum() > 0:
            moved = moved + share * (weights @ documents) / weights.sum()
    return np.asarray(unit_rows(moved[None])[0], dtype=np.float32)


def divergence(query: FloatArray, documents: FloatArray, relevance: FloatArray) -> FloatArray:
    """The least KL divergence of the judge's softmax from the vector's, near to where it was.

    The minimum has the form `q + D' a` with `a` of shape (n,); Newton's method finds its root.
    """
    wanted = _softmax(relevance.astype(np.float64) / _TEACHER)
    stored = documents.astype(np.float64)
    moved = query + _minimum(stored, stored @ query, wanted) @ stored
    return np.asarray(unit_rows(moved[None])[0], dtype=np.float32)


def _minimum(
    documents: NDArray[np.float64], start: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weights `a`; `start` are the cosines before, `wanted` is the judge's softmax."""
    kernel = documents @ documents.T
    unit = np.eye(len(documents))

    def loss(weights: NDArray[np.float64]) -> float:
        have = (start + kernel @ weights) / _STUDENT
        sums = have.max() + np.log(np.exp(have - have.max()).sum())
        return float(_STUDENT * (sums - wanted @ have) + _STAY * weights @ kernel @ weights / 2)

    weights = np.zeros(len(documents))
    for _ in range(_NEWTON_STEPS):
        have = _softmax((start + kernel @ weights) / _STUDENT)
        rest = _STAY * weights - (wanted - have)
        if np.abs(rest).max() < _EXACT:
            break
        slope = (np.diag(have) - np.outer(have, have)) @ kernel / _STUDENT
        step, before = np.linalg.solve(_STAY * unit + slope, rest), loss(weights)
        # Far from the minimum a whole step may lead away from it.
        share = next((h for h in _HALVES if loss(weights - h * step) < before), 0.0)
        if share == 0.0:
            break
        weights = weights - share * step
    return weights


def adam_published(query: FloatArray, documents: FloatArray, relevance: FloatArray) -> FloatArray:
    """The softmax of the scores, at the learning rate of arXiv 2605.12487."""
    return _adam(query, documents, relevance, rate=1e-4, temperature=1.0)


def adam_refit(query: FloatArray, documents: FloatArray, relevance: FloatArray) -> FloatArray:
    """Scores scaled to [0, 1], a softer softmax and a higher learning rate, as in ReFIT."""
    spread = float(np.ptp(relevance))
    scaled = (relevance - relevance.min()) / (spread or 1.0)
    return _adam(query, documents, scaled, rate=5e-3, temperature=2.0)


def _adam(
    query: FloatArray,
    documents: FloatArray,
    relevance: FloatArray,
    *,
    rate: float,
    temperature: float,
) -> FloatArray:
    vector = torch.tensor(query, requires_grad=True)
    stored = torch.tensor(documents)
    wanted = torch.softmax(torch.tensor(relevance, dtype=torch.float32) / temperature, 0)
    optimizer = torch.optim.Adam([vector], lr=rate)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        cosines = stored @ torch.nn.functional.normalize(vector, dim=0)
        loss = torch.nn.functional.kl_div(
            torch.log_softmax(cosines / temperature, 0), wanted, reduction="sum"
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return np.asarray(unit_rows(vector.detach().numpy()[None])[0])


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.exp(values - values.max())
    return np.asarray(apart / apart.sum())
