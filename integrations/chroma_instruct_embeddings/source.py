"""The collection behind what a host calls a vector store, and what it says of itself."""

from collections.abc import Mapping
from typing import Any, cast, get_args

import numpy as np
from chromadb import Collection

from instruct_embeddings._types import Space
from instruct_embeddings.errors import EmptyCollectionError, UnsupportedCollectionError

# Of the metadata, in which old versions of Chroma note the distance.
SPACE_KEY = "hnsw:space"
_DEFAULT_SPACE = "l2"
# Recognised by name: LangChain and LlamaIndex need not be installed, and are never imported.
# LangChain has no public accessor; only this place names its private one.
_HOSTS = {
    "Chroma": (("langchain_chroma", "langchain_community.vectorstores.chroma"), "_collection"),
    "ChromaVectorStore": (("llama_index.vector_stores.chroma",), "client"),
}


def attribute_of(source: object) -> str | None:
    """Where a host's vector store keeps its collection; None of what is no such store."""
    for base in type(source).__mro__:
        modules, attribute = _HOSTS.get(base.__name__, ((), ""))
        if base.__module__.startswith(modules):
            return attribute
    return None


def collection_of(source: object) -> Collection:
    """The synchronous collection behind a source, or UnsupportedCollectionError.

    Looked up on each use, because a LangChain store replaces its collection when it is reset.
    """
    found, attribute = source, attribute_of(source)
    if attribute is not None:
        try:
            found = getattr(source, attribute, None)
        except ValueError as error:
            raise UnsupportedCollectionError(
                f"The {_kind(source)} holds no collection: it was deleted. Call its "
                "reset_collection(), or open the store again."
            ) from error
    if isinstance(found, Collection):
        return found
    behind = "" if found is source else f" behind a {_kind(source)}"
    raise UnsupportedCollectionError(
        f"Cannot read vectors from a {_kind(found)}{behind}. Accepted is a chromadb.Collection, a "
        "langchain_chroma.Chroma or a LlamaIndex ChromaVectorStore, made with a synchronous client "
        "such as HttpClient. Of a client, pass client.get_collection(name); for another store "
        "write a VectorCollection."
    )


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def configured_space(collection: Collection) -> str | None:
    """The distance that the collection's configuration names, if any; see `space_of`."""
    # The raw configuration: the parsed one fails where an embedding function is not registered.
    configuration: Mapping[str, Any] = collection.configuration_json or {}
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    space: str | None = index.get("space")
    return space


def space_of(collection: Collection) -> Space:
    """Distance of the collection's index."""
    space = configured_space(collection) or _DEFAULT_SPACE
    if space == _DEFAULT_SPACE:
        # Collections of chromadb before 0.6 name their distance here; newer versions search by it
        # and still report the default.
        space = str((collection.metadata or {}).get(SPACE_KEY) or space)
    if space not in get_args(Space):
        raise UnsupportedCollectionError(
            f"The collection {collection.name!r} uses the distance {space!r}. Known are "
            f"{', '.join(get_args(Space))}. Upgrade the package or copy the vectors to a new "
            "collection."
        )
    return cast(Space, space)


def dimension_of(collection: Collection) -> int:
    """Length of the stored vectors, or EmptyCollectionError."""
    # An object that was there before the first vector never learns it: a stored row tells it.
    known = collection.get_model().dimension
    first = collection.get(limit=1, include=[] if known else ["embeddings"])
    if not first["ids"]:
        raise EmptyCollectionError(
            f"The collection {collection.name!r} holds 0 vectors. At least one is needed. "
            "Add documents to it first, or check the name and the path of the collection."
        )
    return known or np.asarray(first["embeddings"]).shape[1]
