"""One search result."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from instruct_embeddings._types import Metadata

RankedBy: TypeAlias = Literal["generic", "instant", "fitted", "mixed"]
"""What ranked a search: the stored vectors alone, the instant query, or a fitted transform; "mixed"
where several instructions were answered by different ones."""


@dataclass(frozen=True)
class Hit:
    """A row of the collection with its score.

    Attributes:
        id: Identifier in the collection.
        score: Similarity, higher is closer, in [-1, 1] for vectors of unit length: the adapted
            cosine similarity where `adapted`, else the generic one.
        text: Stored text, if any.
        metadata: Stored metadata.
        ranked_by: What ranked the search; "generic" for a plain search, and where the generic
            ranking was kept because the transform did not beat it on held-out rows.
        reused: Instructions whose transforms served for those asked, since they mean the same.
    """

    id: str
    score: float
    text: str | None
    metadata: Metadata
    ranked_by: RankedBy
    reused: tuple[str, ...] = ()

    @property
    def adapted(self) -> bool:
        """Whether an instruction ranked."""
        return self.ranked_by != "generic"
