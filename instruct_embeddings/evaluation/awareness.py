"""Whether embeddings obey their instruction: three figures, as functions of arrays.

- Clustering: do clusters under an instruction agree with the labels that it asks for (V-measure)?
- Triplets: of two texts that share one aspect each with a third, is the one closer whose aspect the
  instruction asks for? Embeddings that ignore the instruction are right under exactly one of the
  two instructions: their accuracy is 0.5.
- Similarity: do cosines of all pairs under all instructions follow whether the pair agrees in what
  is asked (Spearman)? Embeddings that ignore the instruction give each pair one cosine for two
  opposite answers: their correlation is 0.

The kinds are those of InBedder (ACL 2024, arXiv 2402.09642) and GSTransform (arXiv 2505.24754),
made of any texts with labels in two respects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.evaluation.clustering import codes, k_means, v_measure_of
from instruct_embeddings.evaluation.metrics import closer
from instruct_embeddings.transform.significance import Statistic, mean_of


@dataclass(frozen=True)
class Triplets:
    """Rows of texts: an anchor, one that shares its first aspect only, one that shares its second.

    Attributes:
        anchors: Shape (t,).
        first: Rows with the first label of the anchor and another second one, shape (t,).
        second: Rows with the second label of the anchor and another first one, shape (t,).
    """

    anchors: IntArray
    first: IntArray
    second: IntArray

    def __len__(self) -> int:
        return len(self.anchors)


def draw_triplets(labels: NDArray[Any], most: int, rng: np.random.Generator) -> Triplets:
    """Triplets drawn at random; each row is an anchor as seldom as possible.

    Where one aspect decides the other, as intents decide their scenario, there are none.

    Args:
        labels: Labels of the rows in two aspects, shape (n, 2).
        most: Triplets wanted; so many come back unless no row can be an anchor.
        rng: Source of the choice.
    """
    only_first, only_second = _shared(labels)
    usable = np.flatnonzero(only_first.any(1) & only_second.any(1))
    rounds = [rng.permutation(usable) for _ in range(-(-most // max(1, len(usable))))]
    anchors = np.concatenate(rounds)[:most] if len(usable) else usable
    return Triplets(
        anchors,
        np.array([rng.choice(np.flatnonzero(only_first[a])) for a in anchors], dtype=np.int64),
        np.array([rng.choice(np.flatnonzero(only_second[a])) for a in anchors], dtype=np.int64),
    )


def can_be_anchors(labels: NDArray[Any]) -> IntArray:
    """Rows of which triplets can start; labels of shape (n, 2), rows of shape (m,)."""
    only_first, only_second = _shared(labels)
    return np.flatnonzero(only_first.any(1) & only_second.any(1))


def clustering_agreement(embeddings: FloatArray, labels: Sequence[str], seed: int) -> Statistic:
    """V-measure of k-means against labels, as many clusters as labels; a statistic of rows.

    Args:
        embeddings: Of the rows, under the instruction that asks for the labels, shape (n, d).
        labels: One a row.
        seed: Seed of k-means.

    Raises:
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    names = codes(labels)
    return v_measure_of(names, k_means(embeddings, int(names.max()) + 1, seed))


def triplet_accuracy(
    under_first: FloatArray, under_second: FloatArray, triplets: Triplets
) -> Statistic:
    """Share of right answers under both instructions; a statistic of triplets.

    Args:
        under_first: Unit rows under the instruction of the first aspect, shape (n, d).
        under_second: Unit rows under that of the second, shape (n, e).
        triplets: Rows to compare.
    """
    first = closer(under_first, triplets.anchors, triplets.first, triplets.second)
    second = closer(under_second, triplets.anchors, triplets.second, triplets.first)
    return mean_of((first + second) / 2)


def conditioned_similarity(
    under_first: FloatArray, under_second: FloatArray, triplets: Triplets
) -> Statistic:
    """Spearman correlation of cosines with agreement in what is asked; a statistic of triplets.

    Each triplet gives two pairs, each of which agrees under one instruction and differs under the
    other.

    Args:
        under_first: Unit rows under the instruction of the first aspect, shape (n, d).
        under_second: Unit rows under that of the second, shape (n, e).
        triplets: Whose pairs are compared.
    """
    cosines = np.stack(
        [
            _cosines(vectors, triplets.anchors, others)
            for vectors in (under_first, under_second)
            for others in (triplets.first, triplets.second)
        ]
    )  # (4, t): agrees, differs, differs, agrees
    agrees = np.array([1.0, 0.0, 0.0, 1.0])
    return lambda units: _spearman(cosines[:, units], agrees)


def _shared(labels: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows share the first label only, and which the second only; shape (n, n) each."""
    same = labels[:, None] == labels[None]
    return same[..., 0] & ~same[..., 1], same[..., 1] & ~same[..., 0]


def _cosines(vectors: FloatArray, one: IntArray, other: IntArray) -> FloatArray:
    return np.asarray(np.einsum("td,td->t", vectors[one], vectors[other]))


def _spearman(values: FloatArray, agrees: NDArray[np.float64]) -> float:
    """Of values, shape (4, t), with the same answers for each column, shape (4,)."""
    from scipy.stats import rankdata

    # The mean of the answers is a half, so the ranks need no centring of their own.
    ranks = rankdata(values).reshape(values.shape)
    spread = ranks.std()
    return float((ranks * (agrees - 0.5)[:, None]).mean() / (0.5 * spread)) if spread else 0.0
