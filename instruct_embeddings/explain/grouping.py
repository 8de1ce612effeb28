"""The categories that a transform sees: its classifier's labels, or clusters of its space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.transform.clusters import nearest_centre, spherical_k_means
from instruct_embeddings.transform.problems import MIN_ROWS_PER_LABEL
from instruct_embeddings.transform.space import Classifier, VectorEncoder
from instruct_embeddings.transform.transform import InstructionTransform

MOST_CLUSTERS = 9
_ROWS_PER_CLUSTER = 10
_FEWEST_ROWS = 4
_NEARLY = 0.065


class Grouping(Protocol):
    """Says which category a vector belongs to."""

    @property
    def names(self) -> Sequence[str] | None:
        """Names of the categories; None where they have none and words must name them."""
        ...

    @property
    def count(self) -> int:
        """Number of categories."""
        ...

    def assign(self, vectors: FloatArray) -> tuple[IntArray, FloatArray | None]:
        """Category of unit generic vectors, shape (n, d) to (n,), and its probability, if known."""
        ...


@dataclass(frozen=True)
class GuessedLabels:
    """The most likely label of a transform that learned from labels.

    Attributes:
        classifier: Its label probabilities.
        names: Its labels, or None where the report does not hold them.
    """

    classifier: Classifier
    names: Sequence[str] | None

    @property
    def count(self) -> int:
        """Number of labels."""
        return len(self.classifier.bias)

    def assign(self, vectors: FloatArray) -> tuple[IntArray, FloatArray | None]:
        """The most likely label and its probability."""
        probabilities = self.classifier.probabilities(vectors)
        return probabilities.argmax(axis=1), probabilities.max(axis=1)


@dataclass(frozen=True)
class Clusters:
    """The nearest of some directions in the space of a transform that learned without labels.

    Attributes:
        encoder: Maps vectors into the space.
        centres: Unit rows, shape (c, p).
    """

    encoder: VectorEncoder
    centres: FloatArray

    @property
    def names(self) -> Sequence[str] | None:
        """None: clusters have no names of their own."""
        return None

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    def assign(self, vectors: FloatArray) -> tuple[IntArray, FloatArray | None]:
        """The cluster with the nearest centre; it has no probability."""
        return nearest_centre(self.encoder.encode(vectors), self.centres), None


def find_grouping(transform: InstructionTransform, vectors: FloatArray, seed: int) -> Grouping:
    """The categories of a transform.

    Args:
        transform: The transform.
        vectors: Unit generic vectors of a sample, shape (n, d); clusters are found among them.
        seed: Seed of the clusters.
    """
    if transform.space.classifier is not None:
        return GuessedLabels(transform.space.classifier, label_names(transform))
    encoder = transform.space.encoder
    return Clusters(encoder, choose_centres(encoder.encode(vectors), seed))


def label_names(transform: InstructionTransform) -> tuple[str, ...] | None:
    """Labels in the order of the classifier's rows; None where the report does not tell them.

    A fit from labels keeps those with at least two rows, sorted.
    """
    counts = transform.report.label_counts
    names = tuple(sorted(name for name, rows in counts.items() if rows >= MIN_ROWS_PER_LABEL))
    classifier = transform.space.classifier
    return names if classifier is not None and len(names) == len(classifier.bias) else None


def adapted_view(transform: InstructionTransform, vectors: FloatArray) -> FloatArray:
    """Unit generic vectors as a search under the instruction compares them, (n, d) to (n, p).

    Inner products are the scores of a search in which stored vectors are folded like queries, so
    that the two sides are alike: with folded vectors `q'`, the encoder `f` and label probabilities
    `p` of the space, and the weights `m` and `w`, a row is

        [sqrt(1 - m) q'(x), sqrt(m (1 - w)) f(x), sqrt(m w) p(x)].

    What judgements corrected is in `q'`, and left out of the share of the space.
    """
    space, mix = transform.space, transform.mix
    parts = [(1 - mix, transform.query.fold(vectors))]
    if space.classifier is None or space.weight == 0:
        parts.append((mix, space.encoder.encode(vectors)))
    else:
        parts.append((mix * (1 - space.weight), space.encoder.encode(vectors)))
        parts.append((mix * space.weight, space.classifier.probabilities(vectors)))
    return np.hstack([np.float32(np.sqrt(weight)) * part for weight, part in parts])


def choose_centres(rows: FloatArray, seed: int) -> FloatArray:
    """Centres of spherical k-means, 2 to 9.

    Numbers of clusters are compared by the simplified silhouette (Vendramin et al., 2010): how
    much nearer a row is to its own centre than to the next one. Two clusters often part rows best
    and say least, so the largest number is taken that parts them better than its neighbours and
    nearly as well as any.

    Args:
        rows: Unit rows, shape (n, p).
        seed: Seed of the starts.

    Returns:
        Unit rows, shape (c, p); a single one for fewer than four rows.
    """
    if len(rows) < _FEWEST_ROWS:
        return spherical_k_means(rows, 1, seed)
    most = max(2, min(MOST_CLUSTERS, len(rows) // _ROWS_PER_CLUSTER))
    tried = [spherical_k_means(rows, count, seed) for count in range(2, most + 1)]
    return tried[_largest_peak([_silhouette(rows, centres) for centres in tried])]


def _largest_peak(figures: Sequence[float]) -> int:
    """The last figure that exceeds its neighbours and is nearly as high as the highest."""
    best = max(figures)
    framed = [-np.inf, *figures, -np.inf]
    peaks = [
        place
        for place, (before, figure, after) in enumerate(
            zip(framed, framed[1:], framed[2:], strict=False)
        )
        if before < figure >= after and figure >= best - _NEARLY
    ]
    return peaks[-1] if peaks else figures.index(best)


def _silhouette(rows: FloatArray, centres: FloatArray) -> float:
    distances = np.sort(1.0 - rows @ centres.T, axis=1)
    own, other = np.maximum(distances[:, 0], 0.0), distances[:, 1]
    return float(np.divide(other - own, other, out=np.zeros_like(own), where=other > 0).mean())
