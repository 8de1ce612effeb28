"""Precision by the true labels, of the stored vectors and under an instruction."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings.cli.demo.questions import Aspect

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray, Metadata
    from instruct_embeddings.protocols import VectorCollection
    from instruct_embeddings.retrieval.instant import InstantAnswers
    from instruct_embeddings.transform.transform import InstructionTransform

K = 10
_MOST_ASKED = 500


@dataclass(frozen=True)
class Everything:
    """All rows of the collection, of which each, or some of many, is asked.

    Attributes:
        vectors: Unit vectors, shape (n, d).
        texts: Their texts.
        metadatas: Their metadata.
        asked: Places of the rows that are asked.
    """

    vectors: "FloatArray"
    texts: Sequence[str]
    metadatas: "Sequence[Metadata]"
    asked: Sequence[int]

    @classmethod
    def read(cls, collection: "VectorCollection") -> "Everything":
        """Read a collection."""
        from instruct_embeddings.retrieval.sampling import read_pages
        from instruct_embeddings.transform.vectors import unit_rows

        pages = list(read_pages(collection, vectors=True, records=True))
        texts = [text or "" for page in pages for text in page.read_texts]
        metadatas = [metadata for page in pages for metadata in page.metadatas]
        asked = sorted(Random(0).sample(range(len(texts)), min(len(texts), _MOST_ASKED)))
        vectors = unit_rows(np.concatenate([page.vectors for page in pages]))
        return cls(vectors, texts, metadatas, asked)

    def precision(
        self, aspect: Aspect, instant: "InstantAnswers", transform: "InstructionTransform"
    ) -> dict[str, float] | None:
        """Share of the ten closest rows that share a label with the row asked, by what ranks.

        Args:
            aspect: Where the labels are, and the instruction.
            instant: The instant query, as searches use it.
            transform: What was fitted.

        Returns:
            None where fewer than two rows share a label.
        """
        from instruct_embeddings.transform.quality import precision_at_k

        labels = [aspect.labels(metadata) for metadata in self.metadatas]
        names = {name: column for column, name in enumerate(sorted(frozenset().union(*labels)))}
        carried = np.zeros((len(labels), len(names)), dtype=np.float32)
        for row, own in enumerate(labels):
            carried[row, [names[name] for name in own]] = 1
        asked = np.array([i for i in self.asked if labels[i]], dtype=np.intp)
        relevant = carried[asked] @ carried.T > 0
        relevant[np.arange(len(asked)), asked] = False
        if not relevant.any():
            return None
        moved = [
            (i, instant.ranker(self.texts[i], self.vectors[[i]], aspect.instruction)) for i in asked
        ]
        scores = {
            "generic": self.vectors[asked] @ self.vectors.T,
            "instant": np.stack([one.score(self.vectors[[i]], self.vectors) for i, one in moved]),
            "fitted": np.stack([transform.score(self.vectors[[i]], self.vectors) for i in asked]),
        }
        for found in scores.values():
            found[np.arange(len(asked)), asked] = -np.inf
        return {
            side: float(precision_at_k(found, relevant, K).mean()) for side, found in scores.items()
        }
