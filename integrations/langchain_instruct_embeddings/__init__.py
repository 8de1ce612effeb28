"""LangChain classes of `instruct-embeddings`.

The package itself imports without LangChain; asking for a class loads it, or raises
`MissingExtraError` with the extra to install.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import lazy_exports

if TYPE_CHECKING:
    from langchain_instruct_embeddings.bridged import BridgedEmbeddings
    from langchain_instruct_embeddings.embeddings import InstructEmbeddings
    from langchain_instruct_embeddings.judge import CompressorJudge
    from langchain_instruct_embeddings.retrievers import InstructionTransformRetriever
    from langchain_instruct_embeddings.situated import SituatedEmbeddings
    from langchain_instruct_embeddings.stores import StoreVectors

__all__ = [
    "BridgedEmbeddings",
    "CompressorJudge",
    "InstructEmbeddings",
    "InstructionTransformRetriever",
    "SituatedEmbeddings",
    "StoreVectors",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BridgedEmbeddings": "bridged",
        "CompressorJudge": "judge",
        "InstructEmbeddings": "embeddings",
        "InstructionTransformRetriever": "retrievers",
        "SituatedEmbeddings": "situated",
        "StoreVectors": "stores",
    },
    needs=["langchain_core"],
    extra="langchain",
)
