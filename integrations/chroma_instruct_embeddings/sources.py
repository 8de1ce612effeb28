"""From whatever the user holds to the `chromadb.Collection` behind it."""

import inspect

from chromadb import Collection
from chromadb.api.models.AsyncCollection import AsyncCollection

from instruct_embeddings.errors import UnsupportedCollectionError

# Recognised by name: LangChain and LlamaIndex need not be installed, and are never imported.
_LANGCHAIN = ("langchain_chroma", "langchain_community.vectorstores.chroma")
_LLAMA_INDEX = ("llama_index.vector_stores.chroma",)
_ACCEPTED = "a chromadb.Collection, a langchain_chroma.Chroma or a LlamaIndex ChromaVectorStore"


def collection_of(source: object) -> Collection:
    """The synchronous collection behind a source.

    Looked up on each use, because a LangChain store replaces its collection when it is reset.

    Args:
        source: A `chromadb.Collection`, a `langchain_chroma.Chroma` or a LlamaIndex
            `ChromaVectorStore`.

    Returns:
        The collection itself, not a copy.

    Raises:
        UnsupportedCollectionError: The source is something else, asynchronous, or holds no
            collection at the moment.
    """
    if isinstance(source, Collection):
        return source
    if _is_a(source, "Chroma", _LANGCHAIN):
        return _checked(_collection_of_langchain(source), source)
    if _is_a(source, "ChromaVectorStore", _LLAMA_INDEX):
        return _checked(getattr(source, "client", None), source)
    return _checked(source, source)


def _is_a(source: object, name: str, modules: tuple[str, ...]) -> bool:
    return any(
        base.__name__ == name and base.__module__.startswith(modules)
        for base in type(source).__mro__
    )


def _collection_of_langchain(source: object) -> object:
    # LangChain has no public accessor; this is the only place that uses the private one.
    try:
        return getattr(source, "_collection", None)
    except ValueError as error:
        raise UnsupportedCollectionError(
            f"The {_name(source)} holds no collection: it was deleted. A store must hold one "
            "while it is searched. Call its reset_collection(), or open the store again."
        ) from error


def _checked(found: object, source: object) -> Collection:
    if isinstance(found, Collection):
        return found
    behind = "" if found is source else f" behind a {_name(source)}"
    if isinstance(found, AsyncCollection) or inspect.iscoroutine(found):
        raise UnsupportedCollectionError(
            f"Asynchronous Chroma clients are not supported, got a {_name(found)}{behind}. "
            f"Accepted is {_ACCEPTED} made with a synchronous client. Use "
            "chromadb.HttpClient(host=..., port=...) instead of AsyncHttpClient."
        )
    hint = (
        " A client holds many collections: pass client.get_collection(name)."
        if hasattr(found, "get_collection")
        else " Pass one of these, or write a VectorCollection for another store."
    )
    raise UnsupportedCollectionError(
        f"Cannot read vectors from a {_name(found)}{behind}. Accepted is {_ACCEPTED}.{hint}"
    )


def _name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
