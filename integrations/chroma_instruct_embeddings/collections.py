"""A guard against vectors of another model or instruction in one collection."""

from collections.abc import Mapping
from typing import Any, cast

from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.errors import NotFoundError

from chroma_instruct_embeddings.comparison import Recorded, check_fit, recorded, stored_function
from chroma_instruct_embeddings.embedding_function import InstructEmbeddingFunction
from chroma_instruct_embeddings.spaces import SPACE_KEY, configured_space
from chroma_instruct_embeddings.vectors import collection_of
from instruct_embeddings.errors import CollectionMismatchError, UnsupportedCollectionError


def open_collection(
    client: ClientAPI,
    name: str,
    embedding: Recorded,
    *,
    create: bool = True,
    metadata: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Collection:
    """Get a collection that remembers how it was filled, or make it, with cosine distance.

    A collection that was there is recorded too, if it is empty or stores an equal function.

    Args:
        client: A synchronous Chroma client.
        name: Name of the collection.
        embedding: An `InstructEmbeddingFunction`, which then embeds the texts that are added and
            asked, or another of our embedding classes.
        create: Make the collection where there is none.
        metadata: Further metadata of a new collection.
        configuration: Chroma's configuration of a new collection; it may name another distance.

    Returns:
        The collection.

    Raises:
        CollectionMismatchError: It was filled by another model or under another instruction, or
            stores another embedding function.
        UnsupportedCollectionError: The client is not a synchronous one.
        chromadb.errors.NotFoundError: There is none, and `create` is False.
    """
    if not isinstance(client, ClientAPI):
        raise UnsupportedCollectionError(
            f"open_collection() got a {type(client).__name__}. It needs a synchronous client of "
            "Chroma: PersistentClient, EphemeralClient, HttpClient or CloudClient."
        )
    function: Any = embedding if isinstance(embedding, InstructEmbeddingFunction) else None
    try:
        found = client.get_collection(name, embedding_function=None)
    except NotFoundError:
        if not create:
            raise
        index: dict[str, Any] = dict(configuration or {})
        kind = "spann" if index.get("spann") else "hnsw"
        space = (metadata or {}).get(SPACE_KEY, "cosine")
        index[kind] = {"space": space, **(index.get(kind) or {})}
        # Another process may have been faster: then this is its collection, and checked as such.
        found = client.get_or_create_collection(
            name,
            metadata={**(metadata or {}), **embedding.record.to_metadata()},
            configuration=cast(Any, index),
            embedding_function=function,
        )
    sure = check_fit(found, embedding)
    if function is not None:
        other = stored_function(found).get("name")
        if other not in (None, function.name()):
            raise CollectionMismatchError(
                f"The collection {name!r} stores the embedding function {other!r}, and the one at "
                f"hand is {function!r}. Open it with its own, or fill another collection."
            )
        found = client.get_collection(name, embedding_function=function)
    if sure and _keeps_space(found):
        _stamp(found, embedding)
    return found


def check_collection(source: object, embedding: Recorded) -> None:
    """Refuse to mix vectors of different models or instructions.

    Compared is what the collection remembers: the record in its metadata; else the
    `InstructEmbeddingFunction` that it stores; else the length of its vectors.

    Args:
        source: A `chromadb.Collection`, a `langchain_chroma.Chroma` or a LlamaIndex
            `ChromaVectorStore`.
        embedding: What is about to embed for it; one of our embedding classes.

    Raises:
        CollectionMismatchError: They do not fit; the message names both.
        UnsupportedCollectionError: The source is something else, or asynchronous.
    """
    check_fit(collection_of(source), embedding)


def record_collection(source: object, embedding: Recorded) -> None:
    """Let a collection remember what filled it; you vouch that it was this embedding.

    Its other metadata stay. Nothing happens where the same is recorded already.

    Args:
        source: As for `check_collection`.
        embedding: What embedded its documents; one of our embedding classes.

    Raises:
        CollectionMismatchError: The collection shows that it was another one.
        UnsupportedCollectionError: The collection keeps its distance where recording would lose it.
    """
    collection = collection_of(source)
    check_fit(collection, embedding)
    if not _keeps_space(collection):
        raise UnsupportedCollectionError(
            f"The collection {collection.name!r} was made by an old Chroma that noted its distance "
            f"({collection.metadata[SPACE_KEY]!r}) in the metadata alone, and changing metadata "
            "would lose it. Copy the rows to a collection made by open_collection()."
        )
    _stamp(collection, embedding)


def _keeps_space(collection: Collection) -> bool:
    """Whether the distance is known without the metadata, where Chroma lets nobody keep it."""
    noted = (collection.metadata or {}).get(SPACE_KEY)
    return noted is None or noted == configured_space(collection)


def _stamp(collection: Collection, embedding: Recorded) -> None:
    if recorded(collection) is None:
        held = {k: value for k, value in (collection.metadata or {}).items() if k != SPACE_KEY}
        collection.modify(metadata=held | embedding.record.to_metadata())
