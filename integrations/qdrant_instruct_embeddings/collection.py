"""What Qdrant tells of a collection: which vectors, their distance, and which one it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from qdrant_client import QdrantClient, models

from instruct_embeddings._printable import safe_message
from instruct_embeddings._types import Space
from instruct_embeddings.adapters import Described
from instruct_embeddings.errors import UnsupportedCollectionError

MARKER = "instruct_embeddings_id"
_SPACES: dict[models.Distance, Space] = {
    models.Distance.COSINE: "cosine",
    models.Distance.DOT: "ip",
    models.Distance.EUCLID: "l2",
}


@dataclass(frozen=True)
class Collection(Described):
    """A collection as it is now.

    Attributes:
        vector: Name of the vectors, "" where they have none.
        alone: Whether rows have no other vectors.
        quantised: "", or the kind of quantisation of the index.
        most_ef: How far a search may look; None where there is no limit.
    """

    vector: str
    alone: bool
    quantised: str
    most_ef: int | None


def describe(client: QdrantClient, name: str, vector: str | None) -> Collection:
    """Read the settings of a collection.

    Args:
        client: Of the server or the folder.
        name: Of the collection.
        vector: Name of the vectors; None takes those without a name, or the only ones.

    Raises:
        UnsupportedCollectionError: It is not there, or cannot be searched; the message says why.
    """
    try:
        found = client.get_collection(name)
    except Exception:  # of several classes, which are told apart where they are translated
        if client.collection_exists(name):
            raise
        there = sorted(one.name for one in client.get_collections().collections)
        raise _unusable(
            name,
            f"is not there; there are {', '.join(map(repr, there[:20])) or 'none'}",
            "Check the name and the address.",
        ) from None
    config, params = found.config, found.config.params
    dense = params.vectors if isinstance(params.vectors, Mapping) else {"": params.vectors}
    vectors = {key: one for key, one in dense.items() if one is not None}
    chosen = _chosen(name, vectors, vector)
    settings = vectors[chosen]
    if settings.distance not in _SPACES:
        raise _unusable(
            name,
            f"is searched by the distance {settings.distance.value}; Cosine, Dot and Euclid are "
            "read",
            "Store the vectors in a collection with one of these.",
        )
    quantised = settings.quantization_config or config.quantization_config
    strict = config.strict_mode_config
    own = _identity(found)
    return Collection(
        id=own and f"{own} {chosen}".strip(),
        vector=chosen,
        alone=len(vectors) == 1 and not params.sparse_vectors,
        dimension=settings.size,
        space=_SPACES[settings.distance],
        quantised=type(quantised).__name__ if quantised else "",
        most_ef=strict.search_max_hnsw_ef if strict and strict.enabled else None,
    )


def mark(client: QdrantClient, name: str, again: Callable[[], Collection]) -> Collection:
    """Write an identity into the metadata of a collection, and read the collection again.

    Raises:
        UnsupportedCollectionError: It cannot be written.
    """
    try:
        client.update_collection(name, metadata={MARKER: uuid4().hex})
        why = "it forgot what was written; metadata need Qdrant 1.16"
    except Exception as error:  # clients raise what they like
        why = safe_message(error)
    # What is there now: another process may have written its own.
    found = again()
    if found.id is None:
        raise _unusable(
            name,
            "has no identity, by which transforms are found again. Qdrant 1.20 tells when a "
            "collection was made; before, one text is written into the metadata of the "
            f"collection, which failed ({why})",
            'Pass identity="...", a text of your own that changes when the collection is made '
            "anew, or a key that may write once.",
        )
    return found


def _identity(found: models.CollectionInfo) -> str | None:
    written = (found.config.metadata or {}).get(MARKER)
    if isinstance(written, str) and written:
        return written
    made = getattr(found, "created_at", None)  # clients before 1.20 know none
    return made and made.isoformat()


def _chosen(name: str, dense: Mapping[str, Any], wanted: str | None) -> str:
    usable = [key for key, one in dense.items() if one.multivector_config is None]
    if wanted is None and ("" in usable or len(usable) == 1):
        return "" if "" in usable else usable[0]
    if wanted in usable:
        return wanted or ""
    shown = ", ".join(repr(key) if key else "'' (without a name)" for key in sorted(usable))
    if not usable:
        raise _unusable(
            name,
            "stores no dense vectors, one a row; sparse ones and multivectors are not read",
            "Add dense vectors to it, or name another collection.",
        )
    asked = "of several names" if wanted is None else f"but none of the name {wanted!r}"
    raise _unusable(name, f"stores vectors {asked}: {shown}", 'Pass one as vector_name="...".')


def _unusable(name: str, what: str, remedy: str) -> UnsupportedCollectionError:
    return UnsupportedCollectionError(f"The collection {name!r} {what}. {remedy}")
