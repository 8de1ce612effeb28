"""Answers of Chroma as rows, scores and spaces."""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np
from chromadb import Collection, GetResult
from numpy.typing import ArrayLike

from chroma_instruct_embeddings.embedded import embedded_text, is_node
from chroma_instruct_embeddings.translation import AnswerError
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray, Metadata, Space
from instruct_embeddings.errors import EmptyCollectionError, UnsupportedCollectionError
from instruct_embeddings.protocols import Rows

CHROMA_DEFAULT_SPACE = "l2"


def space_of(collection: Collection) -> Space:
    """Distance of the collection's index.

    Reads the raw configuration: the parsed one fails where the collection was made with an
    embedding function that is not registered in this process.

    Raises:
        UnsupportedCollectionError: The index uses a distance unknown to this version.
    """
    configuration: Mapping[str, Any] = collection.configuration_json or {}
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    metadata: Mapping[str, Any] = collection.metadata or {}
    space = index.get("space") or CHROMA_DEFAULT_SPACE
    if space == CHROMA_DEFAULT_SPACE:
        # Collections of chromadb before 0.6 name their distance here; newer versions search by it
        # and still report the default.
        space = metadata.get("hnsw:space") or space
    if space not in get_args(Space):
        raise UnsupportedCollectionError(
            f"The collection {collection.name!r} uses the distance {space!r}. Known are "
            f"{', '.join(get_args(Space))}. Upgrade the package or copy the vectors to a new "
            "collection."
        )
    return cast(Space, space)


def scores_of(distances: ArrayLike, space: Space) -> FloatArray:
    """Similarities from Chroma's distances, shape (n,), higher is closer.

    Chroma reports 1 - cosine, 1 - inner product, and the squared Euclidean distance.
    """
    values: FloatArray = np.array(distances, dtype=np.float32)
    return -values if space == "l2" else 1 - values


def dimension_of(collection: Collection) -> int:
    """Length of the stored vectors.

    A collection object that was there before the first vector never learns the dimension, so a
    stored row tells it.

    Raises:
        EmptyCollectionError: The collection holds no rows.
    """
    known = collection.get_model().dimension
    first = collection.get(limit=1, include=[] if known else ["embeddings"])
    if not first["ids"]:
        raise EmptyCollectionError(
            f"The collection {collection.name!r} holds 0 vectors. At least one is needed. "
            "Add documents to it first, or check the name and the path of the collection."
        )
    return known or np.asarray(first["embeddings"]).shape[1]


def rows_of(answer: GetResult, *, vectors: bool, records: bool) -> Rows:
    """Rows of one answer, in the order of the answer.

    Args:
        answer: What `Collection.get` returned.
        vectors: Whether vectors were asked for.
        records: Whether texts and metadata were asked for.

    Raises:
        AnswerError: A server has sent something else.
    """
    ids = tuple(each(answer["ids"], str, "ids"))
    rows: dict[str, Any] = {}
    if vectors and ids:
        rows["vectors"] = numbers(answer["embeddings"], "embeddings", rows=len(ids), axes=2)
    if records:
        documents: Any = answer["documents"] or [None] * len(ids)
        metadatas: Any = answer["metadatas"] or [None] * len(ids)
        rows["texts"] = tuple(each(documents, str | None, "documents", rows=len(ids)))
        each(metadatas, Mapping | None, "metadatas", rows=len(ids))
        rows["metadatas"] = tuple(map(_steady, metadatas))
        if any(map(is_node, rows["metadatas"])):
            rows["embed"] = embedded_text
    return Rows(ids, **rows)


def _steady(metadata: Metadata | None) -> Metadata:
    """Metadata in one order: Chroma gives another at every read, and hosts hash them."""
    return dict(sorted(metadata.items())) if metadata else {}


def each(values: Any, kind: Any, name: str, rows: int | None = None) -> Sequence[Any]:
    """A list of an answer, one entry a row, as it is.

    Raises:
        AnswerError: It is none, has another length, or an entry is not of that kind.
    """
    good = isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
    if not good or (rows is not None and len(values) != rows):
        raise AnswerError(f"{name!r} are {shown(values)}")
    return values  # type: ignore[no-any-return]


def numbers(values: Any, name: str, *, rows: int, axes: int) -> FloatArray:
    """Numbers of an answer as float32, one row or one number for each of its rows.

    Raises:
        AnswerError: They are something else.
    """
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AnswerError(f"{name!r} are {shown(values)}") from error
    if found.ndim != axes or len(found) != rows:
        raise AnswerError(f"{name!r} have the shape {found.shape} for {rows} rows")
    return found


def in_order(rows: Rows, ids: Sequence[str]) -> Rows:
    """Rows in the order asked; ids without a row are left out, repeated ones repeated."""
    if rows.ids == tuple(ids):
        return rows
    place = {id: row for row, id in enumerate(rows.ids)}
    order = [place[id] for id in ids if id in place]
    return rows.take(order)
