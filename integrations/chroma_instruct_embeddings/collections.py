"""A guard against vectors of another model or instruction in one collection."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import Any, Protocol, cast

from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.errors import NotFoundError

from chroma_instruct_embeddings.configuration import check_config, check_contents, comparable
from chroma_instruct_embeddings.embedding_function import InstructEmbeddingFunction
from chroma_instruct_embeddings.errors import translated
from chroma_instruct_embeddings.vectors import (
    SPACE_KEY,
    collection_of,
    configured_space,
    dimension_of,
)
from instruct_embeddings.encoder import EmbeddingRecord, InstructEncoder
from instruct_embeddings.errors import (
    CollectionMismatchError,
    EmptyCollectionError,
    ModelNotFoundError,
    UnsupportedCollectionError,
)

_WHAT_TO_DO = (
    "Their vectors cannot be compared. Open it with the model and instruction that filled it, or "
    "fill another collection."
)


class Recorded(Protocol):
    """Whatever embeds and can say how: the embedding classes of all our adapters."""

    @property
    def record(self) -> EmbeddingRecord:
        """What a collection has to remember."""


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
    function = embedding if isinstance(embedding, InstructEmbeddingFunction) else None
    found = _find(client, name, required=not create)
    if found is None:
        # Another process may have been faster: then this is its collection, and checked as such.
        found = client.get_or_create_collection(
            name,
            metadata={**(metadata or {}), **embedding.record.to_metadata()},
            configuration=_with_space(configuration, metadata),
            embedding_function=cast(Any, function),
        )
    sure = _compare(found, embedding)
    if function is not None:
        _check_function(found, function)
        found = client.get_collection(name, embedding_function=cast(Any, function))
    if sure and _recorded(found) is None and _space_stays(found):
        _stamp(found, embedding.record)
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
    _compare(collection_of(source), embedding)


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
    _compare(collection, embedding)
    if _recorded(collection) is not None:
        return
    if not _space_stays(collection):
        raise UnsupportedCollectionError(
            f"The collection {collection.name!r} was made by an old Chroma that noted its distance "
            f"({collection.metadata[SPACE_KEY]!r}) in the metadata alone, and changing metadata "
            "would lose it. Only collections made by Chroma 1.0 or later can be recorded. Copy the "
            "rows to a collection made by open_collection()."
        )
    _stamp(collection, embedding.record)


def _compare(collection: Collection, embedding: Recorded) -> bool:
    """Whether it is sure that they fit; False where nothing speaks against it."""
    recorded = _recorded(collection)
    if recorded is not None:
        recorded.check(embedding.record, collection.name)
        return True
    stored = _stored_function(collection)
    if stored.get("name") == InstructEmbeddingFunction.name():
        return _compare_config(stored.get("config") or {}, embedding, collection.name)
    try:
        with translated(collection):
            dimension = dimension_of(collection)
    except EmptyCollectionError:
        return True
    if dimension != embedding.record.dimension:
        raise CollectionMismatchError(
            f"The collection {collection.name!r} holds vectors of {dimension} dimensions, and the "
            f"encoder at hand is {embedding.record}. {_WHAT_TO_DO}"
        )
    return False


def _compare_config(config: Mapping[str, Any], embedding: Recorded, collection: str) -> bool:
    options = check_config(config)
    ours = embedding.get_config() if isinstance(embedding, InstructEmbeddingFunction) else None
    if ours is not None and comparable(config) == comparable(ours):
        return True
    instruction, mine = config["document_instruction"], embedding.record
    if instruction == mine.instruction:
        check_contents(config)
        # No download of a model only to say that it is another one.
        encoder = InstructEncoder(replace(options, local_files_only=True))
        try:
            encoder.record(instruction=instruction).check(mine, collection)
        except ModelNotFoundError:
            if _public_name(config) == mine.model:
                return False
        else:
            return True
    raise CollectionMismatchError(
        f"The collection {collection!r} was made for {config['model']!r} under "
        f"{instruction or 'no instruction'!r}, and the encoder at hand is {mine}. {_WHAT_TO_DO}"
    )


def _public_name(config: Mapping[str, Any]) -> str:
    """As records call the model: the id on the hub, or the name of a folder of any system."""
    name = str(config["model"])
    return PureWindowsPath(name).name if "model" in config.get("contents", {}) else name


def _check_function(collection: Collection, function: InstructEmbeddingFunction) -> None:
    other = _stored_function(collection).get("name")
    if other not in (None, function.name()):
        raise CollectionMismatchError(
            f"The collection {collection.name!r} stores the embedding function {other!r}, and the "
            f"one at hand is {function!r}. Chroma serves a collection with one function. Open it "
            "with its own, or fill another collection."
        )


def _find(client: ClientAPI, name: str, *, required: bool) -> Collection | None:
    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        if required:
            raise
        return None


def _with_space(
    configuration: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None
) -> CreateCollectionConfiguration:
    """Cosine, where neither names a distance; the caller's mappings are left alone."""
    whole: dict[str, Any] = dict(configuration or {})
    index = "spann" if whole.get("spann") else "hnsw"
    space = (metadata or {}).get(SPACE_KEY, "cosine")
    whole[index] = {"space": space, **(whole.get(index) or {})}
    return cast(CreateCollectionConfiguration, whole)


def _recorded(collection: Collection) -> EmbeddingRecord | None:
    return EmbeddingRecord.from_metadata(collection.metadata)


def _stored_function(collection: Collection) -> Mapping[str, Any]:
    # The raw configuration: the parsed one fails where a function is not registered.
    return (collection.configuration_json or {}).get("embedding_function") or {}


def _space_stays(collection: Collection) -> bool:
    """Whether the distance is known without the metadata, where Chroma lets nobody keep it."""
    noted = (collection.metadata or {}).get(SPACE_KEY)
    return noted is None or noted == configured_space(collection)


def _stamp(collection: Collection, record: EmbeddingRecord) -> None:
    held = {key: value for key, value in (collection.metadata or {}).items() if key != SPACE_KEY}
    collection.modify(metadata=held | record.to_metadata())
