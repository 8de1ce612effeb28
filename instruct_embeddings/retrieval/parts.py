"""What a retriever is put together from, looked at before anything is read."""

from pathlib import Path

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.transform.store import TransformStore

_METHODS = [name for name in vars(VectorCollection) if not name.startswith("_")]


def check_collection(collection: object) -> None:
    """Refuse what is no collection of vectors, such as the vector store of a host itself.

    Raises:
        ConfigError: It is not a `VectorCollection`.
    """
    missing = [name for name in _METHODS if not callable(getattr(collection, name, None))]
    if missing or isinstance(collection, type):
        raise ConfigError(
            f"collection={collection!r} is not a collection of vectors"
            f"{f': it has no {missing[0]}()' if missing else ': it is a class'}. Wrap a Chroma "
            "collection or vector store: InstructRetriever(ChromaVectors(store), ...)."
        )


def check_guide(guide: object) -> None:
    """Refuse what cannot teach a transform; None is allowed.

    Raises:
        ConfigError: It is not a `Guide`, or the class of one.
    """
    if isinstance(guide, type):
        raise ConfigError(
            f"guide={guide.__name__} is a class, and a guide is wanted. Make one of it: "
            f"guide={guide.__name__}(...)."
        )
    if guide is not None and not (hasattr(guide, "judge") and hasattr(guide, "key")):
        raise ConfigError(
            f"guide={guide!r} is not a guide: it has no judge() or no key. "
            'Pass for example MetadataGuide("language") or LabelGuide({id: label}).'
        )


def open_store(store: object) -> TransformStore | None:
    """The store of a folder; a store, or None, as it is.

    Raises:
        ConfigError: It is none of these.
    """
    if store is None or isinstance(store, TransformStore):
        return store
    if isinstance(store, str | Path):
        return TransformStore(store)
    raise ConfigError(
        f"store={store!r} is neither a folder nor a TransformStore. Name the folder in which "
        'transforms are kept: store="transforms".'
    )
