"""Learning from labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform.classifier import Classifier, fit_classifier
from instruct_embeddings.transform.problem import Scorer, depth, ranking_quality
from instruct_embeddings.transform.quality import label_matches
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.space import SpaceTransform
from instruct_embeddings.transform.vectors import unit_rows

MIN_ROWS_PER_LABEL = 2
# Each label is a row of weights. Whoever fills the metadata decides how many there are.
MOST_LABELS = 2000


@dataclass(frozen=True)
class LabelProblem:
    """Rows with labels; judged by the share of the best k that carry the query's label.

    Attributes:
        vectors: Unit rows, shape (n, d).
        targets: Label distribution of each row, shape (n, c).
    """

    vectors: FloatArray
    targets: FloatArray
    strengths: Sequence[float] = (10.0, 30.0, 3.0)
    # Less would rank a little better without rescoring, but at a million rows the index no longer
    # finds what it should: docs/performance.md.
    residuals: Sequence[float] = (1.0, 1.5)
    weights: Sequence[float] = (0.3, 0.5, 0.8)

    @classmethod
    def of(cls, vectors: FloatArray, labels: Labels) -> "LabelProblem":
        """Keep the judged rows, and the labels that have at least two of them: the most frequent.

        Raises:
            GuideError: Fewer than two such labels remain.
        """
        counts = labels.counts()
        frequent = [label for label, n in counts.items() if n >= MIN_ROWS_PER_LABEL]
        kept = sorted(frequent[:MOST_LABELS])
        if len(kept) < 2:
            raise GuideError(
                f"Only {len(kept)} labels of the sample have at least {MIN_ROWS_PER_LABEL} rows "
                f"(rows per label: {dict(list(counts.items())[:5])}); at least two labels are "
                "needed. Take a larger sample, or label more rows."
            )
        column = {label: position for position, label in enumerate(kept)}
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

    @property
    def size(self) -> int:
        """Judged rows."""
        return len(self.vectors)

    @property
    def groups(self) -> IntArray:
        """Each row by itself."""
        return np.arange(self.size)

    def subset(self, units: IntArray) -> "LabelProblem":
        """Some of the rows; labels that vanish keep their column."""
        return replace(self, vectors=self.vectors[units], targets=self.targets[units])

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """Label probabilities as the gate, the classifier's weights as the directions."""
        before = Classifier(start.gates, start.bias) if start else None
        classifier = fit_classifier(self.vectors, self.targets, strength, before)
        # What all labels have in common moves every query alike; contrasts remain.
        directions = classifier.weights - classifier.weights.mean(0)
        length = float(np.linalg.norm(directions, axis=1).mean()) or 1.0
        return QueryTransform(
            residual=self.residuals[0],
            gates=classifier.weights,
            bias=classifier.bias,
            directions=directions / np.float32(length),
            gate="softmax",
        )

    def fit_space(self, query: QueryTransform, seed: int) -> SpaceTransform:
        """The encoder of GSTransform beside the classifier that the query side already has."""
        from instruct_embeddings.transform.network import NetworkConfig, fit_encoder

        same = (self.targets @ self.targets.T) > 0
        encoder = fit_encoder(self.vectors, same, NetworkConfig(), seed)
        return SpaceTransform(encoder, Classifier(query.gates, query.bias), self.weights[0])

    def quality(self, score: Scorer) -> FloatArray:
        """Precision@k of the rows that share a label with another."""
        return ranking_quality(score, self.vectors, label_matches(self.targets))
