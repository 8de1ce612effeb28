"""A fitted transform: what is stored, found again, and applied to queries."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.config import FitConfig, normalise_instruction
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.space import SpaceTransform


@dataclass(frozen=True)
class Norms:
    """Lengths of the stored vectors, measured on the sample.

    Attributes:
        mean: Mean length.
        spread: Standard deviation divided by the mean.
    """

    mean: float
    spread: float

    @classmethod
    def of(cls, vectors: FloatArray) -> "Norms":
        """Measure rows of shape (n, d)."""
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        mean = float(lengths.mean())
        return cls(mean=mean, spread=float(lengths.std() / mean))

    @property
    def constant(self) -> bool:
        """Whether all stored vectors have the same length, up to rounding."""
        return self.spread < 1e-3

    def leave_cosines_to(self, space: Space) -> bool:
        """Whether an index of that space ranks by cosine: lengths do not weigh in."""
        return space == "cosine" or self.constant


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
        """Final scores of candidates.

        Args:
            query: Unit generic vector of the query, shape (1, d).
            documents: Unit generic vectors of candidates, shape (n, d).
            blend: 0 gives the generic cosine, 1 the adapted score.
            folded: `fold(query, blend)`, where that is known.

        Returns:
            Similarities in [-1, 1], shape (n,).
        """
        folded = self.fold(query, blend) if folded is None else folded
        scores = (folded @ documents.T)[0]
        if self.mix:
            space = self.query.correct(self.space.score(query, documents), query, documents)[0]
            if blend < 1.0:
                space = blend * space + (1 - blend) * (query @ documents.T)[0]
            scores = (1 - self.mix) * scores + self.mix * space
        return np.asarray(np.clip(scores, -1.0, 1.0), dtype=np.float32)


def transform_key(instruction: str, guide: str, collection: CollectionInfo) -> str:
    """Where a transform is found again: by instruction (normalised), guide and collection."""
    text = "\x1f".join([normalise_instruction(instruction), guide, collection.fingerprint])
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
