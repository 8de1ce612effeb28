"""Whether what embeds fits what a collection remembers of its vectors."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import Any, Protocol

from chromadb import Collection

from chroma_instruct_embeddings.configuration import check_config, check_contents, comparable
from chroma_instruct_embeddings.embedding_function import InstructEmbeddingFunction
from chroma_instruct_embeddings.errors import translated
from chroma_instruct_embeddings.spaces import dimension_of
from instruct_embeddings.encoder import EmbeddingRecord, InstructEncoder
from instruct_embeddings.errors import (
    CollectionMismatchError,
    EmptyCollectionError,
    ModelNotFoundError,
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


def recorded(collection: Collection) -> EmbeddingRecord | None:
    """The record in the metadata of a collection."""
    return EmbeddingRecord.from_metadata(collection.metadata)


def stored_function(collection: Collection) -> Mapping[str, Any]:
    """What a collection stores of its embedding function."""
    # The raw configuration: the parsed one fails where a function is not registered.
    return (collection.configuration_json or {}).get("embedding_function") or {}


def check_fit(collection: Collection, embedding: Recorded) -> bool:
    """Whether it is sure that they fit; False where nothing speaks against it.

    Raises:
        CollectionMismatchError: They do not fit.
    """
    if (record := recorded(collection)) is not None:
        record.check(embedding.record, collection.name)
        return True
    stored = stored_function(collection)
    if stored.get("name") == InstructEmbeddingFunction.name():
        return _check_config(stored.get("config") or {}, embedding, collection.name)
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


def _check_config(config: Mapping[str, Any], embedding: Recorded, collection: str) -> bool:
    options, instruction = check_config(config), config["document_instruction"]
    ours = embedding.get_config() if isinstance(embedding, InstructEmbeddingFunction) else {}
    if comparable(config) == comparable(ours):
        return True
    if instruction == (mine := embedding.record).instruction:
        check_contents(config)
        try:  # no download of a model only to say that it is another one
            encoder = InstructEncoder(replace(options, local_files_only=True))
            encoder.record(instruction=instruction).check(mine, collection)
            return True
        except ModelNotFoundError:
            # As records call it: the id on the hub, or the name of a folder of any system.
            name = str(config["model"])
            known = "model" in config.get("contents", {})
            if mine.model == (PureWindowsPath(name).name if known else name):
                return False
    raise CollectionMismatchError(
        f"The collection {collection!r} was made for {config['model']!r} under "
        f"{instruction or 'no instruction'!r}, and the encoder at hand is {mine}. {_WHAT_TO_DO}"
    )
