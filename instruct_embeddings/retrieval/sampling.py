"""A sample of a collection that can be learned from."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from instruct_embeddings.errors import (
    EmptyCollectionError,
    GuideError,
    InvalidVectorsError,
    StaleCollectionError,
)
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.transform.vectors import has_direction

_log = logging.getLogger(__name__)


def sample_rows(
    collection: VectorCollection, size: int, *, seed: int, ids: Sequence[str] | None = None
) -> Rows:
    """Rows to learn from, with vectors, texts and metadata.

    The collection chooses them, the same rows for the same seed: see its `sample`. A collection of
    at most `size` rows is taken whole. `ids` restrict the choice; rows without usable vectors are
    left out.

    Raises:
        EmptyCollectionError: The collection is empty.
        GuideError: None of the ids is in the collection.
        InvalidVectorsError: No sampled vector has a direction.
    """
    if ids is None:
        rows = collection.sample(size, seed=seed)
    else:
        order = np.random.default_rng(seed).permutation(len(ids))
        chosen = [ids[i] for i in np.sort(order[:size])]
        rows = collection.fetch(chosen, vectors=True, records=True)
    if not len(rows):
        raise _nothing_found(collection, ids)
    return _usable(rows, collection)


@contextmanager
def unchanged(collection: VectorCollection) -> Iterator[CollectionInfo]:
    """The identity of a collection, for as long as something is learned from its rows.

    Rows may come and go meanwhile; one that is made anew is a StaleCollectionError.
    """
    before = collection.info()
    yield before
    if collection.capabilities.listing:
        collection.count()  # an identity may be remembered after the store has forgotten it
    after = collection.info()
    if after != before:
        raise StaleCollectionError(
            f"The collection {before.name!r} was made anew while something was learned from its "
            f"rows: it was {before}, and is {after}. What was learned fits the former vectors and "
            "is discarded. Call again."
        )


def _nothing_found(
    collection: VectorCollection, ids: Sequence[str] | None
) -> EmptyCollectionError | GuideError:
    name = collection.info().name
    if ids is None:
        return EmptyCollectionError(f"The collection {name!r} is empty. Index documents first.")
    listed = collection.scan() if collection.capabilities.listing else iter(())
    stored = list(next(listed, Rows(())).ids[:3])
    return GuideError(
        f"None of the {len(ids):,} ids that the guide knows is in the collection {name!r}. Its ids "
        f"look like {stored}, the guide's like {list(ids[:3])}. Use the ids of the collection."
    )


def _usable(rows: Rows, collection: VectorCollection) -> Rows:
    good = has_direction(rows.vectors)
    if good.all():
        return rows
    if not good.any():
        raise InvalidVectorsError(
            f"All {len(rows)} sampled vectors of {collection.info().name!r} are zero or hold NaN "
            "or infinite numbers. Look at how the collection was embedded."
        )
    _log.warning(
        "%d of %d sampled vectors have no direction (zero, NaN or infinite) and are left out",
        int((~good).sum()),
        len(rows),
    )
    return rows.take(np.flatnonzero(good))
