"""LangChain classes of `instruct-embeddings`.

The package itself imports without LangChain; asking for a class loads it, or raises
`MissingExtraError` with the extra to install.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from instruct_embeddings._extras import require

if TYPE_CHECKING:
    from langchain_instruct_embeddings.bridged import BridgedEmbeddings
    from langchain_instruct_embeddings.embeddings import InstructEmbeddings
    from langchain_instruct_embeddings.retrievers import InstructionTransformRetriever

__all__ = ["BridgedEmbeddings", "InstructEmbeddings", "InstructionTransformRetriever"]

# Where a name lives, and what it needs.
_EXPORTS = {
    "BridgedEmbeddings": ("bridged", ("langchain_core",)),
    "InstructEmbeddings": ("embeddings", ("langchain_core",)),
    "InstructionTransformRetriever": ("retrievers", ("langchain_core", "langchain_chroma")),
}


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, needed = _EXPORTS[name]
    for host in needed:
        require(host, extra="langchain")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return __all__
