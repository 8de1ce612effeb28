"""A fitted transform: a folded query for the index, and a space that rescores candidates."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.config import FitConfig, normalise_instruction
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.vectors import unit_rows

Gate: TypeAlias = Literal["softmax", "linear"]

# Part of the format of stored corrections: another number needs another format_version.
SHARPNESS = 4.0
# Candidates of an index where nothing was measured; see docs/performance.md.
DEFAULT_PREFETCH = 600
DEEPEST_PREFETCH = 1200


@dataclass(frozen=True)
class Correction:
    """Moves query vectors by what was judged, near the judged queries and everywhere.

    Rocchio (1971) moves a judged query towards what was relevant and away from what was not. Here
    each judged query `q_i` has such a move `m_i`, and a query `v` makes it in proportion to how
    near it is; besides, a symmetric form of low rank changes all queries a little:

        move(v) = sum_i exp(4 (q_i^T v - 1)) m_i + sum_r w_r (a_r^T v) a_r.

    The move is added to a query vector, so that an index of the stored vectors needs no change.
    """

    queries: FloatArray  # judged queries `q_i`, unit rows, (u, d)
    moves: FloatArray  # their moves `m_i`, (u, d)
    axes: FloatArray  # `a_r`, unit rows, (r, d)
    weights: FloatArray  # `w_r`, (r,)

    def move(self, vectors: FloatArray) -> FloatArray:
        """What is added to unit generic queries, shape (n, d) to (n, d)."""
        near = nearness(vectors, self.queries) @ self.moves
        everywhere = (vectors @ self.axes.T * self.weights) @ self.axes
        return np.asarray(near + everywhere, dtype=np.float32)

    def form(self) -> FloatArray:
        """The symmetric form that moves queries everywhere, shape (d, d)."""
        return np.asarray((self.axes.T * self.weights) @ self.axes, dtype=np.float32)


@dataclass(frozen=True)
class QueryTransform:
    """Turns a generic query vector into one for the same index, whatever its size.

    A stored vector `x` is ranked by its inner product with the folded query

        q' = unit(s * v + D^T g(A v + b)).

    The score must be linear in the stored vector `x`, so that everything else can be folded into
    the query; of the query `v` it may be any function. With the `linear` gate it is the bilinear
    form `v^T (s Id + A^T D) x`: `D = A` where it is fitted from pairs; from target vectors, `A`
    maps the query to them and `D` what is stored. With the `softmax` gate, `g` is the probability
    of each label for the query and row c of `D` the direction in which label c lies: the query
    moves towards the labels it is likely to carry. Fitted from labels this ranks better than a
    bilinear form of any rank, because the query side may be as sharp as a classifier while the
    index still computes an inner product.

    Attributes:
        residual: Weight `s` of the generic vector.
        gates: `A`, shape (c, d).
        bias: `b`, shape (c,).
        directions: `D`, shape (c, d).
        gate: `g`.
        correction: Move learned from judgements, added to the folded query; None without any.
    """

    residual: float
    gates: FloatArray
    bias: FloatArray
    directions: FloatArray
    gate: Gate
    correction: Correction | None = None

    @property
    def dimension(self) -> int:
        """Dimension d of the vectors it applies to."""
        return int(self.gates.shape[1])

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries, unit rows (n, d) to unit rows (n, d); `blend=0` gives them back."""
        gated = vectors @ self.gates.T + self.bias
        if self.gate == "softmax":
            gated = softmax(gated)
        adapted = unit_rows(self.residual * vectors + gated @ self.directions)
        if self.correction is not None:
            adapted = unit_rows(adapted + self.correction.move(vectors))
        if blend == 1.0:
            return adapted
        return unit_rows((1.0 - blend) * vectors + blend * adapted)

    def correct(self, scores: FloatArray, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Scores (q, n) of a rescoring space with the correction that folded queries have.

        Unit generic queries (q, d) and documents (n, d); similarities in [-1, 1].
        """
        if self.correction is None:
            return scores
        moves = self.correction.move(queries)
        longest = 1 + np.linalg.norm(moves, axis=1, keepdims=True)
        return np.asarray((scores + moves @ documents.T) / longest, dtype=np.float32)


def nearness(left: FloatArray, right: FloatArray) -> FloatArray:
    """How much of a judged query's move other queries make, 1 for itself.

    Unit rows of shapes (n, d) and (m, d) to (n, m).
    """
    return np.asarray(np.exp(SHARPNESS * (left @ right.T - 1.0)), dtype=np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """Row-wise softmax, shape (n, c) to (n, c)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class VectorEncoder:
    """The encoder `f` of GSTransform: a map of vectors with at most one hidden layer.

    One or two layers of weights, shape (out, in), and bias, shape (out,).
    """

    layers: tuple[tuple[FloatArray, FloatArray], ...]

    def encode(self, vectors: FloatArray) -> FloatArray:
        """Unit vectors in the new space, shape (n, d) to (n, p)."""
        hidden = vectors
        for weights, bias in self.layers[:-1]:
            hidden = gelu(hidden @ weights.T + bias)
        weights, bias = self.layers[-1]
        return unit_rows(hidden @ weights.T + bias)


@dataclass(frozen=True)
class Classifier:
    """Label probabilities `softmax(W v + b)`, shapes (c, d) and (c,)."""

    weights: FloatArray
    bias: FloatArray

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Probability of each label, shape (n, d) to (n, c)."""
        return softmax(vectors @ self.weights.T + self.bias)


@dataclass(frozen=True)
class SpaceTransform:
    """A similarity of two generic vectors under an instruction, as a cosine.

    GSTransform (arXiv 2505.24754, section 3.3) ranks by the cosine of `f(q)` and `f(x)`, where `f`
    is the encoder of an encoder-decoder. A classifier on the same labels is better calibrated, so
    where there are labels the probability that both vectors carry the same one is added:

        score = (1 - w) cos(f(q), f(x)) + w sum_c p_c(q) p_c(x).

    Attributes:
        encoder: `f`.
        classifier: Label probabilities `p`; None where the supervision had no labels.
        weight: `w`; 0 where there is no classifier, or where it only names the labels of rows.
    """

    encoder: VectorEncoder
    classifier: Classifier | None
    weight: float

    def score(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Similarities in [-1, 1] of unit generic vectors, shapes (q, d) and (n, d) to (q, n)."""
        scores = self.encoder.encode(queries) @ self.encoder.encode(documents).T
        if self.classifier is None or self.weight == 0:
            return scores
        same = self.classifier.probabilities(queries) @ self.classifier.probabilities(documents).T
        return (1 - self.weight) * scores + self.weight * same

    def most(self, query: FloatArray) -> float:
        """No document has a higher similarity to a unit generic vector, shape (1, d)."""
        if self.classifier is None or self.weight == 0:
            return 1.0
        return 1 - self.weight + self.weight * float(self.classifier.probabilities(query).max())


def gelu(values: FloatArray) -> FloatArray:
    """Gaussian error linear unit, tanh form (Hendrycks and Gimpel, 2016)."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (
        values + np.float32(0.044715) * values * values * values
    )
    return np.asarray(np.float32(0.5) * values * (1 + np.tanh(inner)), dtype=np.float32)


def gelu_slope(values: FloatArray) -> FloatArray:
    """Derivative of `gelu`."""
    root, cubic = np.float32(np.sqrt(2 / np.pi)), np.float32(0.044715)
    squares = values * values
    bent = np.tanh(root * values * (1 + cubic * squares))
    steep = root * values * (1 - bent * bent) * (1 + 3 * cubic * squares)
    return np.asarray(np.float32(0.5) * (1 + bent + steep), dtype=np.float32)


@dataclass(frozen=True)
class Norms:
    """Lengths of the stored vectors, measured on the sample."""

    mean: float
    spread: float  # standard deviation divided by the mean

    @classmethod
    def of(cls, vectors: FloatArray) -> "Norms":
        """Measure rows of shape (n, d)."""
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        mean = float(lengths.mean())
        return cls(mean=mean, spread=float(lengths.std() / mean))

    def leave_cosines_to(self, space: Space) -> bool:
        """Whether an index of that space ranks by cosine: lengths do not weigh in, or are equal."""
        return space == "cosine" or self.spread < 1e-3


@dataclass(frozen=True)
class InstructionTransform:
    """Adapts searches in one collection to one instruction.

    Attributes:
        instruction: The instruction as given.
        guide: Key of the guide that taught it.
        collection: The collection whose vectors it was fitted on.
        query: Folds queries for the index.
        space: Rescores candidates.
        mix: Share of the space's score in the final score; the rest is the folded score.
        norms: Lengths of the stored vectors.
        report: Quality on held-out rows.
        config: How it was fitted.
        created: ISO 8601 time, UTC.
        prefetch: Candidates of the index for ten results, as measured when it was fitted.
    """

    instruction: str
    guide: str
    collection: CollectionInfo
    query: QueryTransform
    space: SpaceTransform
    mix: float
    norms: Norms
    report: FitReport
    config: FitConfig
    created: str
    prefetch: int = DEFAULT_PREFETCH

    @property
    def order_is_exact(self) -> bool:
        """Whether the index ranks a folded query by cosine: it does not weigh lengths in."""
        return self.norms.leave_cosines_to(self.collection.space)

    @property
    def key(self) -> str:
        """Hexadecimal name of the transform in a store."""
        return transform_key(self.instruction, self.guide, self.collection)

    def fold(self, vectors: FloatArray, blend: float = 1.0) -> FloatArray:
        """Folded queries; see `QueryTransform.fold`."""
        return self.query.fold(vectors, blend)

    def score(
        self,
        query: FloatArray,
        documents: FloatArray,
        blend: float = 1.0,
        *,
        folded: FloatArray | None = None,
    ) -> FloatArray:
        """Final scores of candidates: similarities in [-1, 1], shape (n,).

        Args:
            query: Unit generic vector of the query, shape (1, d).
            documents: Unit generic vectors of candidates, shape (n, d).
            blend: 0 gives the generic cosine, 1 the adapted score.
            folded: `fold(query, blend)`, where that is known.
        """
        folded = self.fold(query, blend) if folded is None else folded
        scores = (folded @ documents.T)[0]
        if self.mix:
            space = self.query.correct(self.space.score(query, documents), query, documents)[0]
            if blend < 1.0:
                space = blend * space + (1 - blend) * (query @ documents.T)[0]
            scores = (1 - self.mix) * scores + self.mix * space
        return np.asarray(np.clip(scores, -1.0, 1.0), dtype=np.float32)

    def most(self, query: FloatArray, blend: float = 1.0) -> float:
        """No document has more of the rescoring space in its score, by the arguments of `score`."""
        if self.query.correction is not None:
            return 1.0
        return blend * self.space.most(query) + 1 - blend


def transform_key(instruction: str, guide: str, collection: CollectionInfo) -> str:
    """Where a transform is found again: by instruction (normalised), guide and collection."""
    text = "\x1f".join([normalise_instruction(instruction), guide, collection.fingerprint])
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
