"""Distance and dimension of a collection, as it tells them."""

from collections.abc import Mapping
from typing import Any, cast, get_args

import numpy as np
from chromadb import Collection

from instruct_embeddings._types import Space
from instruct_embeddings.errors import EmptyCollectionError, UnsupportedCollectionError

# Of the metadata, in which old versions of Chroma note the distance.
SPACE_KEY = "hnsw:space"
_DEFAULT_SPACE = "l2"


def configured_space(collection: Collection) -> str | None:
    """The distance that the collection's configuration names, if any; see `space_of`."""
    space: str | None = _configured(collection).get("space")
    return space


def depth_of(collection: Collection) -> int:
    """For how many rows its index looks at the least (`ef_search`); 0 where it does not say."""
    depth = _configured(collection).get("ef_search")
    return depth if isinstance(depth, int) else 0


def _configured(collection: Collection) -> Mapping[str, Any]:
    # The raw configuration: the parsed one fails where an embedding function is not registered.
    configuration: Mapping[str, Any] = collection.configuration_json or {}
    return configuration.get("hnsw") or configuration.get("spann") or {}


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
