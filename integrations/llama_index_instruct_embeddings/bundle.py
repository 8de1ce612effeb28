"""A query that carries its own instruction."""

from collections.abc import Mapping
from dataclasses import dataclass

from llama_index.core.schema import QueryBundle


@dataclass
class InstructionQueryBundle(QueryBundle):
    """Query with an instruction of its own, for one call of `InstructionTransformRetriever`.

    It can be passed wherever LlamaIndex takes a query, to a retriever or to a query engine. Query
    transforms such as HyDE make plain bundles and so lose the instruction; use
    `InstructionTransformRetriever.with_instruction` there.

    Usage:
        ```python
        from llama_index_instruct_embeddings import InstructionQueryBundle

        engine.query(InstructionQueryBundle("image viewer", instruction="What is it for?"))
        ```

    Attributes:
        instruction: The plain sentence to search under, or several with weights. `None` asks for
            the generic search, also where the retriever has an instruction.
    """

    instruction: str | Mapping[str, float] | None = None
