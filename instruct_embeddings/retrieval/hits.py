"""One search result."""

from dataclasses import dataclass

from instruct_embeddings._types import Metadata


@dataclass(frozen=True)
class Hit:
    """A row of the collection with its score.

    Attributes:
        id: Identifier in the collection.
        score: Similarity, higher is closer, in [-1, 1] for vectors of unit length: the adapted
            cosine similarity where `adapted`, else the generic one.
        text: Stored text, if any.
        metadata: Stored metadata.
        adapted: False for a plain generic search, and where the generic ranking was kept because
            the transform did not beat it on held-out rows.
        reused: Instructions whose transforms served for those asked, since they mean the same.
    """

    id: str
    score: float
    text: str | None
    metadata: Metadata
    adapted: bool
    reused: tuple[str, ...] = ()
