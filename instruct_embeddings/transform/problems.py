"""What is learned from each form of supervision, and how it is judged.

Targets of an encoder are good at the coarse and noisy at the fine: the nearest target of a text is
often a text with the same words. Three things follow, all measured (`make bench-encoder-quality`).
Targets are centred, since what all texts share under one instruction says nothing about any of
them. The space is a smooth non-linear map, which ranks better than the targets themselves. And
settings are judged by clusters of the targets: agreement with the nearest targets prefers maps
that follow the noise, and hardly distinguishes better from worse.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Labels, Pairs, Supervision, Targets
from instruct_embeddings.transform.quality import (
    Scorer,
    class_matches,
    depth,
    label_matches,
    ranking_quality,
)
from instruct_embeddings.transform.regression import (
    fit_classifier,
    fit_pair_map,
    fit_ridge_map,
    fit_smooth_map,
)
from instruct_embeddings.transform.report import PAIR_ACCURACY
from instruct_embeddings.transform.transform import (
    Classifier,
    QueryTransform,
    SpaceTransform,
    VectorEncoder,
)
from instruct_embeddings.transform.vectors import (
    centred,
    nearest_centre,
    spherical_k_means,
    unit_rows,
)

MIN_ROWS_PER_LABEL = 2
# Each label is a row of weights, and whoever fills the metadata decides how many there are.
_MAX_LABELS = 2000
_MIN_TARGETS = 4
_MAX_CLUSTERS = 20
_ROWS_PER_CLUSTER = 20
_DIRECTION_STRENGTH = 10.0


@dataclass(frozen=True)
class _RowProblem:
    """Rows judged by the fraction of the best k that belong to the same label or cluster."""

    vectors: FloatArray  # unit rows, (n, d)
    targets: FloatArray  # label distribution, or target vector, of each row, (n, p)

    @property
    def size(self) -> int:
        """Judged rows."""
        return len(self.vectors)

    @property
    def groups(self) -> IntArray:
        """Each row by itself."""
        return np.arange(len(self.vectors))

    def subset(self, units: IntArray) -> Self:
        """Some of the rows; labels that vanish keep their column."""
        return replace(self, **{f.name: getattr(self, f.name)[units] for f in fields(self)})


@dataclass(frozen=True)
class LabelProblem(_RowProblem):
    """Rows with labels; judged by the fraction of the best k that carry the query's label."""

    # Inverse penalties: the most likely, a larger one, a smaller one.
    strengths: ClassVar = (10.0, 30.0, 3.0)
    # Weights of the generic vector in the folded query. Less would rank a little better without
    # rescoring, but at a million rows the index no longer finds what it should:
    # docs/performance.md.
    residuals: ClassVar = (1.0, 1.5)
    weights: ClassVar = (0.3, 0.5, 0.8)  # of the classifier in the space

    @classmethod
    def of(cls, vectors: FloatArray, labels: Labels) -> "LabelProblem":
        """Keep the judged rows, and the most frequent labels, which have at least two of them."""
        counts = labels.counts()
        frequent = [label for label, n in counts.items() if n >= MIN_ROWS_PER_LABEL]
        kept = sorted(frequent[:_MAX_LABELS])
        if len(kept) < 2:
            raise GuideError(
                f"Only {len(kept)} labels of the sample have at least {MIN_ROWS_PER_LABEL} rows "
                f"(rows per label: {dict(list(counts.items())[:5])}); at least two labels are "
                "needed. Take a larger sample, or label more rows."
            )
        column = {label: index for index, label in enumerate(kept)}
        targets = np.zeros((len(labels.rows), len(kept)), dtype=np.float32)
        for row, names in enumerate(labels.rows):
            for name in names & column.keys():
                targets[row, column[name]] = 1.0
        judged = targets.any(axis=1)
        chosen = targets[judged]
        return cls(unit_rows(vectors[judged]), chosen / chosen.sum(1, keepdims=True))

    @property
    def measure(self) -> str:
        """Precision at the ranks that are judged."""
        return f"precision@{depth(self.size)}"

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """Label probabilities as the gate, the classifier's weights as the directions."""
        before = Classifier(start.gates, start.bias) if start else None
        classifier = fit_classifier(self.vectors, self.targets, strength, before)
        # What all labels have in common moves every query alike; contrasts remain.
        directions = classifier.weights - classifier.weights.mean(0)
        length = float(np.linalg.norm(directions, axis=1).mean()) or 1.0
        directions = directions / np.float32(length)
        residual = self.residuals[0]
        return QueryTransform(residual, classifier.weights, classifier.bias, directions, "softmax")

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The encoder of GSTransform beside the classifier that the query side already has."""
        from instruct_embeddings.transform.network import NetworkConfig, fit_encoder

        same = (self.targets @ self.targets.T) > 0
        encoder = fit_encoder(self.vectors, same, NetworkConfig(), seed)
        return SpaceTransform(encoder, Classifier(query.gates, query.bias), self.weights[0])

    def quality(self, score: Scorer) -> FloatArray:
        """Precision@k of the rows that have a label in common with another."""
        return ranking_quality(score, self.vectors, label_matches(self.targets))


@dataclass(frozen=True)
class TargetProblem(_RowProblem):
    """Rows with centred unit target vectors; judged by the clusters of these, shape (n,)."""

    clusters: IntArray

    strengths: ClassVar = (1.0,)
    # Rescored searches are as good with any from 0.3 to 1.5. With these a folded query stays as
    # close to the stored vectors as one fitted from labels, so that an index finds its way.
    residuals: ClassVar = (0.6, 1.0)
    weights: ClassVar = (0.0,)

    @classmethod
    def of(cls, vectors: FloatArray, targets: Targets) -> "TargetProblem":
        """Keep the judged rows, of which there must be four."""
        judged = targets.judged
        if judged.sum() < _MIN_TARGETS:
            raise GuideError(
                f"The guide gave targets for {int(judged.sum())} rows; at least {_MIN_TARGETS} are "
                "needed. Take a larger sample."
            )
        own = centred(targets.vectors[judged])
        return cls(unit_rows(vectors[judged]), own, find_clusters(own))

    @property
    def measure(self) -> str:
        """Agreement at the ranks that are judged."""
        return f"agreement@{depth(self.size)}"

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """A ridge map of the query onto the targets, and of stored vectors into the space.

        The index cannot map what is stored, so the query `A v + b` is multiplied by `D`, the best
        linear approach to the unit vectors that the space makes of stored ones.
        """
        del start  # closed form: nothing to warm up
        gates, bias = fit_ridge_map(self.vectors, self.targets, strength)
        mapped = self._encoder.encode(self.vectors)
        directions, _ = fit_ridge_map(self.vectors, mapped, _DIRECTION_STRENGTH)
        return QueryTransform(self.residuals[0], gates, bias, directions, "linear")

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The smooth map onto the targets, ranked by cosine."""
        del query, seed
        return SpaceTransform(self._encoder, None, 0.0)

    def quality(self, score: Scorer) -> FloatArray:
        """Precision@k against the rows of the same cluster; none for a row that is alone in it."""
        return ranking_quality(score, self.vectors, class_matches(self.clusters))

    @cached_property
    def _encoder(self) -> VectorEncoder:
        return fit_smooth_map(self.vectors, self.targets)


@dataclass(frozen=True)
class PairProblem:
    """Judged pairs of unit vectors; judged again by the area under the ROC curve."""

    pairs: Pairs

    strengths: ClassVar = (1.0, 3.0, 0.3)
    residuals: ClassVar = (1.0, 0.5, 2.0)
    weights: ClassVar = (0.0,)
    measure: ClassVar = PAIR_ACCURACY

    @classmethod
    def of(cls, pairs: Pairs) -> "PairProblem":
        """Scale both sides of at least two relevant and two irrelevant pairs to unit length."""
        positives = int(pairs.relevant.sum())
        if min(positives, len(pairs.relevant) - positives) < 2:
            raise GuideError(
                f"{positives} of {len(pairs.relevant)} pairs are relevant; at least two relevant "
                "and two irrelevant pairs are needed. Add judgements of the missing kind."
            )
        return cls(Pairs(unit_rows(pairs.queries), unit_rows(pairs.documents), pairs.relevant))

    @property
    def size(self) -> int:
        """Judged pairs."""
        return len(self.pairs.relevant)

    @property
    def groups(self) -> IntArray:
        """Number of the query of each pair, shape (m,); equal vectors are one query."""
        return group_rows(self.pairs.queries)

    def subset(self, units: IntArray) -> Self:
        """Some of the pairs."""
        return replace(self, pairs=self.pairs.take(units))

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """The bilinear form `v^T (s Id + A^T A) x` by logistic regression on the pairs."""
        del start
        weights = fit_pair_map(self.pairs, strength)
        bias = np.zeros(len(weights), dtype=np.float32)
        return QueryTransform(self.residuals[0], weights, bias, weights, "linear")

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The symmetric map whose inner product is the bilinear form, ranked by cosine."""
        del seed
        identity = np.float32(np.sqrt(query.residual)) * np.eye(query.dimension, dtype=np.float32)
        weights = np.vstack([identity, query.gates])
        bias = np.zeros(len(weights), dtype=np.float32)
        return SpaceTransform(VectorEncoder(((weights, bias),)), None, 0.0)

    def quality(self, score: Scorer) -> FloatArray:
        """For each relevant pair, the share of irrelevant pairs that score less; ties count half.

        Their mean is the area under the ROC curve.
        """
        p = self.pairs
        scores = np.array(
            [score(q[None], d[None])[0, 0] for q, d in zip(p.queries, p.documents, strict=True)]
        )
        good, bad = scores[p.relevant, None], scores[~p.relevant]
        if not good.size or not bad.size:
            return np.empty(0, dtype=np.float32)
        ahead = ((good > bad) + 0.5 * (good == bad)).mean(axis=1)
        return np.asarray(ahead, dtype=np.float32)


Problem: TypeAlias = LabelProblem | TargetProblem | PairProblem
"""A judged sample that can be split, fitted and judged again, with settings to try."""


def problem_of(vectors: FloatArray, supervision: Supervision) -> Problem:
    """A judged sample of stored vectors, shape (n, d), with what the guide said about its rows.

    Raises:
        GuideError: It is not about these rows, or too small or one-sided to learn from.
    """
    if isinstance(supervision, Pairs):
        return PairProblem.of(supervision)
    if len(supervision.judged) != len(vectors):
        raise GuideError(
            f"The guide judged {len(supervision.judged)} rows of a sample of {len(vectors)}. It "
            "must answer for every row of the sample, in its order; unjudged rows stay empty."
        )
    if isinstance(supervision, Labels):
        return LabelProblem.of(vectors, supervision)
    return TargetProblem.of(vectors, supervision)


def held_out_agreement(vectors: FloatArray, targets: Targets) -> float:
    """How well targets can be predicted from stored vectors: mean cosine on the third held out.

    Rows are in random order, shape (n, d); 0 where too few have a target.
    """
    rows = np.flatnonzero(targets.judged)
    if len(rows) < 2 * _MIN_TARGETS:
        return 0.0
    held = np.arange(len(rows)) % 3 == 2
    own = unit_rows(targets.vectors[rows])
    own = unit_rows(own - own[~held].mean(0))
    known = unit_rows(vectors[rows])
    mapped = fit_smooth_map(known[~held], own[~held]).encode(known[held])
    return float((mapped * own[held]).sum(1).mean())


def find_clusters(targets: FloatArray) -> IntArray:
    """Cluster of each unit row, (n, p) to (n,): at most 20 clusters, of about 20 rows or more."""
    count = max(2, min(_MAX_CLUSTERS, len(targets) // _ROWS_PER_CLUSTER))
    return nearest_centre(targets, spherical_k_means(targets, count, seed=0))


def group_rows(vectors: FloatArray) -> IntArray:
    """Equal rows get equal numbers, from 0 in the order of their values, (n, d) to (n,)."""
    _, numbers = np.unique(vectors, axis=0, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).ravel()
