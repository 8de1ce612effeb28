"""Answers of Chroma, checked and in the words of the core."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from chromadb import Collection, Include

from chroma_instruct_embeddings.embedded import NODE_KEY, embedded_text
from chroma_instruct_embeddings.errors import AnswerError, translate
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.config import check_filter
from instruct_embeddings.errors import EmptyCollectionError, StaleCollectionError
from instruct_embeddings.protocols import Neighbours, Rows

_TRIES = 3
_Answer = TypeVar("_Answer")


def request(collection: Collection, ask: Callable[[], _Answer]) -> _Answer:
    """What Chroma answers, its errors translated; asked again where a row vanishes meanwhile.

    A server gathers ids first and their vectors later, and fails where a row was deleted in
    between. An index that is truly stale fails each time.
    """
    for left in reversed(range(_TRIES)):
        try:
            return ask()
        except Exception as error:
            known = translate(error, collection)
            if known is None:
                raise
            if not (left and isinstance(known, StaleCollectionError)):
                raise known from error
    raise AssertionError("unreachable")


def filters(where: Where | None, where_document: Where | None) -> dict[str, Any]:
    """Filters as Chroma takes them; empty ones are none."""
    found = {"where": where, "where_document": where_document}
    for name, value in found.items():
        check_filter(name, value)
    return {name: dict(value) if value else None for name, value in found.items()}


def get_rows(
    collection: Collection, vectors: bool, records: bool, criteria: Mapping[str, Any]
) -> Rows:
    """Rows by id, in that order, or those of a page in the order of insertion."""
    include: Include = ["embeddings"] if vectors else []
    include += ["documents", "metadatas"] if records else []

    def ask() -> Rows:
        answer = collection.get(include=include, **criteria)
        ids = tuple(_each(answer["ids"], str, "ids"))
        none: list[Any] = [None] * len(ids)
        # By id, Chroma answers in the order of insertion too.
        order = places(ids, criteria.get("ids", ids))
        rows: dict[str, Any] = {}
        if vectors and ids:
            stored = _numbers(answer["embeddings"], "embeddings", rows=len(ids), axes=2)
            rows["vectors"] = stored[order]
        if records:
            texts = _each(answer["documents"] or none, str | None, "documents", len(ids))
            found = _each(answer["metadatas"] or none, Mapping | None, "metadatas", len(ids))
            # In one order: Chroma gives another at every read, and hosts hash them.
            metadatas = tuple(dict(sorted((found[i] or {}).items())) for i in order)
            rows |= {"texts": tuple(texts[i] for i in order), "metadatas": metadatas}
            if any(NODE_KEY in metadata for metadata in metadatas):
                rows["embed"] = embedded_text
        return Rows(tuple(ids[i] for i in order), **rows)

    return request(collection, ask)


def joined(parts: Sequence[Rows], vectors: bool, dimension: Callable[[], int]) -> Rows:
    """Pages as one, whose vectors have the `dimension` even where there is no row."""
    rows = parts[0] if len(parts) == 1 else Rows.joined(parts)
    if vectors and not rows.ids:
        with suppress(EmptyCollectionError):
            return replace(rows, vectors=np.empty((0, dimension()), dtype=np.float32))
    return rows


def query_rows(
    collection: Collection,
    space: Space,
    query: FloatArray,
    vectors: bool,
    criteria: Mapping[str, Any],
) -> Neighbours:
    """The rows that a query finds, with similarities."""
    include: Include = ["distances", "embeddings"] if vectors else ["distances"]

    def ask() -> Neighbours:
        answer: Any = collection.query(query_embeddings=query, include=include, **criteria)
        ids = tuple(_each(answer["ids"][0], str, "ids"))
        distances = (answer["distances"] or [[]])[0]
        found = _numbers(distances, "distances", rows=len(ids), axes=1)
        # Chroma reports 1 - cosine, 1 - inner product, and the squared Euclidean distance.
        scores = -found if space == "l2" else 1 - found
        if not vectors or not ids:
            return Neighbours(ids, scores)
        stored = _numbers(answer["embeddings"][0], "embeddings", rows=len(ids), axes=2)
        return Neighbours(ids, scores, stored)

    return request(collection, ask)


def places(found: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where among the found ids the wanted ones stand, without those that are not there."""
    position = {row: place for place, row in enumerate(found)}
    return [position[row] for row in wanted if row in position]


def to_count(found: object) -> int:
    """The number of rows that Chroma tells."""
    if isinstance(found, int):
        return found
    raise AnswerError(f"the number of rows is {shown(found)}")


def _each(values: Any, kind: Any, name: str, rows: int | None = None) -> Sequence[Any]:
    """A list of an answer, one entry of a kind for each row, as it is."""
    good = isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
    if not good or (rows is not None and len(values) != rows):
        raise AnswerError(f"{name!r} are {shown(values)}")
    return values  # type: ignore[no-any-return]


def _numbers(values: Any, name: str, *, rows: int, axes: int) -> FloatArray:
    """Numbers of an answer as float32, one row or one number for each of its rows."""
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AnswerError(f"{name!r} are {shown(values)}") from error
    if found.ndim != axes or len(found) != rows:
        raise AnswerError(f"{name!r} have the shape {found.shape} for {rows} rows")
    return found
