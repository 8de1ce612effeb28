"""A query that carries what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from instruct_embeddings.hosts import UNSET, Unset


@dataclass
class InstructionQueryBundle(QueryBundle):
    """Query with arguments of its own, for one call of `InstructionTransformRetriever`.

    It can be passed wherever LlamaIndex takes a query, to a retriever or to a query engine. Query
    transforms such as HyDE make plain bundles and so lose the arguments; use
    `InstructionTransformRetriever.with_instruction` there.

    Usage:
        ```python
        from llama_index_instruct_embeddings import InstructionQueryBundle

        engine.query(InstructionQueryBundle("image viewer", instruction="What is it for?"))
        ```

        Where several users ask one retriever, each with what they may see:

        ```python
        from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

        own = MetadataFilters(filters=[MetadataFilter(key="team", value="support")])
        asked = InstructionQueryBundle("image viewer", filters=own, similarity_top_k=3)
        ```

    Attributes that are left out are those of the retriever. `None` has a meaning of its own.

    Attributes:
        instruction: The plain sentence to search under, or several with weights. `None` asks for
            the generic search, also where the retriever has an instruction.
        filters: Metadata filters, in place of the retriever's; `None` lifts them.
        similarity_top_k: Number of nodes wanted.
        where_document: Chroma's filter on texts; `None` lifts the retriever's.
        blend: Weight of the adapted score, from 0 (generic) to 1 (adapted).
        prefetch: Candidates that are fetched and rescored; `None` chooses.
        similarity_cutoff: Least score of a node; `None` shows all.
        mmr_threshold: Maximal marginal relevance, from 0 (different nodes) to 1 (scores alone);
            `None` keeps the plain order.
    """

    instruction: str | Mapping[str, float] | Unset | None = UNSET
    filters: MetadataFilters | Unset | None = UNSET
    similarity_top_k: int | Unset = UNSET
    where_document: dict[str, Any] | Unset | None = UNSET
    blend: float | Unset = UNSET
    prefetch: int | Unset | None = UNSET
    similarity_cutoff: float | Unset | None = UNSET
    mmr_threshold: float | Unset | None = UNSET

    def arguments(self) -> dict[str, Any]:
        """The arguments that it carries, by name."""
        own = {one.name for one in fields(self)} - {one.name for one in fields(QueryBundle)}
        return {name: getattr(self, name) for name in own}
