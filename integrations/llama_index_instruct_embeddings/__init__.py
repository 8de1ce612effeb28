"""LlamaIndex classes of `instruct-embeddings`.

The package itself imports without LlamaIndex; asking for a class loads it, or raises
`MissingExtraError` with the extra to install.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import lazy_exports

if TYPE_CHECKING:
    from llama_index_instruct_embeddings.bridged import BridgedEmbedding
    from llama_index_instruct_embeddings.embedding import InstructEmbedding
    from llama_index_instruct_embeddings.judge import PostprocessorJudge
    from llama_index_instruct_embeddings.query import InstructionQueryBundle, to_where
    from llama_index_instruct_embeddings.retriever import InstructionTransformRetriever
    from llama_index_instruct_embeddings.situated import SituatedEmbedding

__all__ = [
    "BridgedEmbedding",
    "InstructEmbedding",
    "InstructionQueryBundle",
    "InstructionTransformRetriever",
    "PostprocessorJudge",
    "SituatedEmbedding",
    "to_where",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BridgedEmbedding": "bridged",
        "InstructEmbedding": "embedding",
        "InstructionQueryBundle": "query",
        "InstructionTransformRetriever": "retriever",
        "PostprocessorJudge": "judge",
        "SituatedEmbedding": "situated",
        "to_where": "query",
    },
    needs=["llama_index.core"],
    extra="llama-index",
)
