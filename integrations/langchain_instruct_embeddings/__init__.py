"""LangChain classes of `instruct-embeddings`.

The package itself imports without LangChain; asking for a class loads it, or raises
`MissingExtraError` with the extra to install.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import require

if TYPE_CHECKING:
    from langchain_instruct_embeddings.retrievers import InstructionTransformRetriever

__all__ = ["InstructionTransformRetriever"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in ("langchain_core", "langchain_chroma"):
        require(module, extra="langchain")
    from langchain_instruct_embeddings import retrievers

    return getattr(retrievers, name)


def __dir__() -> list[str]:
    return __all__
