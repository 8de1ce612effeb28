"""What can be learned from labelled vectors: the peers, and ours, in one form."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from benchmarks.peers_adapter import AS_DOCUMENTED, LONGER, Training, fit_adapter
from benchmarks.transform import GSTRANSFORM, POSTERIOR, Ranked
from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform.network import NetworkConfig, fit_encoder
from instruct_embeddings.transform.problems import LabelProblem
from instruct_embeddings.transform.vectors import unit_rows

LDA = "LDA"
CENTROID = "centroid of the predicted label"
ADAPTER = "LlamaIndex linear adapter, as documented"
ADAPTER_LONGER = "LlamaIndex linear adapter, trained longer"


@dataclass(frozen=True)
class Learned:
    """A method that has learned one instruction.

    Attributes:
        ask: Vectors of queries to what is asked for, shape (m, d) to (m, p).
        store: Stored vectors to what is searched, shape (n, d) to (n, p); None where the stored
            vectors, and so their index, serve as they are.
    """

    ask: Callable[[FloatArray], FloatArray]
    store: Callable[[FloatArray], FloatArray] | None = None

    def rank(self, pool: FloatArray) -> Ranked:
        """Scores of the pool asked by itself, and the vectors to cluster."""
        queries = self.ask(pool)
        if self.store is None:
            return queries @ pool.T, queries
        rows = self.store(pool)
        return queries @ rows.T, rows


Learn: TypeAlias = Callable[[FloatArray, list[str], int], Learned]
"""Vectors, their labels and a seed to what was learned."""


def _both(change: Callable[[FloatArray], FloatArray]) -> Learned:
    return Learned(change, change)


def lda(x: FloatArray, y: list[str], seed: int) -> Learned:
    """Linear discriminant analysis with Ledoit-Wolf shrinkage, ranked by cosine."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only one sample available")  # of a rare label
        model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(x, y)
    return _both(lambda rows: unit_rows(model.transform(rows)).astype(np.float32))


def posterior(x: FloatArray, y: list[str], seed: int) -> Learned:
    """Label probabilities of a logistic regression, ranked by inner product."""
    model = LogisticRegression(C=10, max_iter=1000).fit(x, y)
    return _both(lambda rows: model.predict_proba(rows).astype(np.float32))


def gstransform(x: FloatArray, y: list[str], seed: int) -> Learned:
    """The encoder-decoder as published, without input noise."""
    config = NetworkConfig(width=256, size=128, batch=512, steps=120, rate=3e-3, noise=0.0)
    problem = LabelProblem.of(x, Labels.single(y))
    same = (problem.targets @ problem.targets.T) > 0
    return _both(fit_encoder(problem.vectors, same, config, seed).encode)


def centroid(x: FloatArray, y: list[str], seed: int) -> Learned:
    """A query becomes the centroid of the label that it is taken for."""
    model = NearestCentroid().fit(x, y)
    centres = unit_rows(model.centroids_.astype(np.float32))
    place = {label: i for i, label in enumerate(model.classes_)}
    return Learned(lambda rows: centres[[place[label] for label in model.predict(rows)]])


def adapter(training: Training) -> Learn:
    """A linear map of queries, by LlamaIndex."""
    return lambda x, y, seed: Learned(fit_adapter(x, y, training, seed))


PEERS: Mapping[str, Learn] = {
    ADAPTER: adapter(AS_DOCUMENTED),
    ADAPTER_LONGER: adapter(LONGER),
    CENTROID: centroid,
    LDA: lda,
    POSTERIOR: posterior,
    GSTRANSFORM: gstransform,
}
# What moves the query alone can ask an index of the stored vectors; the others scan new ones.
MOVING = (ADAPTER, ADAPTER_LONGER, CENTROID)
SCANNING = tuple(name for name in PEERS if name not in MOVING)
