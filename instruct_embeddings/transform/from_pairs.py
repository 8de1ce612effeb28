"""Learning from judged pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.bilinear import fit_pair_map
from instruct_embeddings.transform.problem import Scorer
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.report import PAIR_ACCURACY
from instruct_embeddings.transform.space import SpaceTransform, VectorEncoder
from instruct_embeddings.transform.vectors import unit_rows


@dataclass(frozen=True)
class PairProblem:
    """Judged pairs; judged again by the area under the ROC curve of their scores.

    Attributes:
        pairs: Unit vectors of both sides, and whether they belong together.
    """

    pairs: Pairs
    strengths: Sequence[float] = (1.0, 3.0, 0.3)
    residuals: Sequence[float] = (1.0, 0.5, 2.0)
    weights: Sequence[float] = (0.0,)
    measure: str = PAIR_ACCURACY

    @classmethod
    def of(cls, pairs: Pairs) -> "PairProblem":
        """Scale both sides to unit length.

        Raises:
            GuideError: There are not at least two relevant and two irrelevant pairs.
        """
        positives = int(pairs.relevant.sum())
        if min(positives, len(pairs.relevant) - positives) < 2:
            raise GuideError(
                f"{positives} of {len(pairs.relevant)} pairs are relevant; at least two relevant "
                "and two irrelevant pairs are needed. Add judgements of the missing kind."
            )
        return cls(Pairs(unit_rows(pairs.queries), unit_rows(pairs.documents), pairs.relevant))

    @property
    def size(self) -> int:
        """Pairs."""
        return len(self.pairs.relevant)

    @property
    def groups(self) -> IntArray:
        """Number of the query of each pair, shape (m,); equal vectors are one query."""
        return group_rows(self.pairs.queries)

    def subset(self, units: IntArray) -> "PairProblem":
        """Some of the pairs."""
        p = self.pairs
        return replace(self, pairs=Pairs(p.queries[units], p.documents[units], p.relevant[units]))

    def fit_queries(self, strength: float, start: QueryTransform | None = None) -> QueryTransform:
        """The bilinear form `v^T (s Id + A^T A) x` by logistic regression on the pairs."""
        del start
        weights = fit_pair_map(self.pairs, strength)
        return QueryTransform(
            residual=self.residuals[0],
            gates=weights,
            bias=np.zeros(len(weights), dtype=np.float32),
            directions=weights,
            gate="linear",
        )

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


def group_rows(vectors: FloatArray) -> IntArray:
    """Equal rows get equal numbers, from 0 in the order of their values, (n, d) to (n,)."""
    _, numbers = np.unique(vectors, axis=0, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).ravel()
