"""LlamaIndex classes of `instruct-embeddings`.

The package itself imports without LlamaIndex; asking for a class loads it, or raises
`MissingExtraError` with the extra to install.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from instruct_embeddings._extras import require

if TYPE_CHECKING:
    from llama_index_instruct_embeddings.bridged import BridgedEmbedding
    from llama_index_instruct_embeddings.bundle import InstructionQueryBundle
    from llama_index_instruct_embeddings.embedding import InstructEmbedding
    from llama_index_instruct_embeddings.filters import to_where
    from llama_index_instruct_embeddings.retriever import InstructionTransformRetriever

__all__ = [
    "BridgedEmbedding",
    "InstructEmbedding",
    "InstructionQueryBundle",
    "InstructionTransformRetriever",
    "to_where",
]

_MODULES = {
    "BridgedEmbedding": "bridged",
    "InstructEmbedding": "embedding",
    "InstructionQueryBundle": "bundle",
    "InstructionTransformRetriever": "retriever",
    "to_where": "filters",
}
_WITHOUT_VECTOR_STORE = ("BridgedEmbedding", "InstructEmbedding")


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("llama_index.core", extra="llama-index")
    if name not in _WITHOUT_VECTOR_STORE:
        require("llama_index.vector_stores.chroma", extra="llama-index")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
