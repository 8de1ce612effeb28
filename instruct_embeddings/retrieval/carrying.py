"""Transforms of one collection for another that holds the same vectors, as after a move."""

from dataclasses import replace

import numpy as np

from instruct_embeddings._types import BoolArray, Space
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import CollectionMismatchError
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval.prefetch import measured_prefetch
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform import TransformStore
from instruct_embeddings.transform.transform import Norms
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Rows may have been written since the vectors were copied; half precision turns a vector by 1e-6.
_ALIKE = 0.95
_COSINE = 0.9999
_LENGTH = 0.01


def carry_over(
    store: TransformStore,
    source: VectorCollection,
    target: VectorCollection,
    *,
    into: TransformStore | None = None,
    rows: int = 500,
    seed: int = 0,
) -> tuple[str, ...]:
    """Let what was learned on one collection serve another that holds the same vectors.

    For a collection that moved to another store: nothing is fitted again. Of a sample of the
    source, 95 % must be in the target with the same vectors, under the same ids or, where the
    target has none of these, under ids of its own; where cosines are compared, lengths may differ.
    Both collections are only read. Transforms of the target are never replaced; those of the source
    stay.

    Args:
        store: Where the transforms are.
        source: The collection that they were fitted on.
        target: The collection that holds its vectors now.
        into: Where their copies go; None for the same store.
        rows: Rows that are compared.
        seed: Of the choice of rows.

    Returns:
        Keys of the transforms that were added, sorted.

    Raises:
        CollectionMismatchError: The collections do not hold the same vectors, or compare them by
            another distance; nothing is written then.
        EmptyCollectionError: One of them is empty.
    """
    old, new = source.info(), target.info()
    if (old.dimension, old.space) != (new.dimension, new.space):
        raise CollectionMismatchError(
            f"The vectors of {old.name!r} have {old.dimension} dimensions and the space "
            f"{old.space!r}, those of {new.name!r} {new.dimension} and {new.space!r}. What was "
            "learned holds for one of each. Make the target like the source, or fit it anew."
        )
    sample = sample_rows(source, at_least("rows", rows, 1, optional=False), seed=seed)
    found = target.fetch(sample.ids, vectors=True)
    found = found if len(found) else _nearest(sample, target)
    found = found.take(np.flatnonzero(has_direction(found.vectors))) if len(found) else found
    _check(sample, found, old, new)
    norms = Norms.of(found.vectors)
    into = into or store
    known, added = set(into.keys()), []
    for summary in store.summaries():
        if summary.problem is not None or summary.collection != old:
            continue
        transform = store.get(summary.key)
        if transform is None:  # deleted meanwhile
            continue
        carried = replace(transform, collection=new, norms=norms)
        if carried.key not in known:
            needed = measured_prefetch(carried, target, found.vectors, transform.config.recall)
            into.put(replace(carried, prefetch=needed))
            added.append(carried.key)
    return tuple(sorted(added))


def _check(sample: Rows, found: Rows, old: CollectionInfo, new: CollectionInfo) -> None:
    place = {row: position for position, row in enumerate(sample.ids)}
    same = int(_alike(sample.take([place[row] for row in found.ids]), found, old.space).sum())
    if same < _ALIKE * len(sample):
        raise CollectionMismatchError(
            f"Of {len(sample):,} rows of {old.name!r}, {same:,} are in {new.name!r} with the same "
            "vector; 95 % must. Copy the vectors with their ids, or fit the target anew."
        )


def _nearest(sample: Rows, target: VectorCollection) -> Rows:
    """The row of the target that is nearest to each of the sample, under the id it has there.

    For stores that number rows in their own way, as Qdrant does.
    """
    asked = (target.search(vector, k=1, vectors=True) for vector in sample.vectors)
    found = [
        Rows((row,), one.vectors) for row, one in zip(sample.ids, asked, strict=True) if len(one)
    ]
    return Rows.joined(found)


def _alike(first: Rows, second: Rows, space: Space) -> BoolArray:
    if not len(first):
        return np.zeros(0, dtype=np.bool_)
    cosines = (unit_rows(first.vectors) * unit_rows(second.vectors)).sum(axis=1)
    alike = cosines >= _COSINE
    if space != "cosine":
        lengths = [np.linalg.norm(rows.vectors, axis=1) for rows in (first, second)]
        alike &= np.abs(lengths[0] - lengths[1]) <= _LENGTH * lengths[0]
    return np.asarray(alike, dtype=np.bool_)
