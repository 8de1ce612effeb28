"""How many candidates a folded query needs of its index, measured on the index itself.

An approximate index misses rows, the more the further a query lies from what is stored, and finds
more the more are wanted. How many differs from one index and one transform to the next, so a few
queries are asked once, when a transform is fitted.
"""

from collections.abc import Sequence

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.ranking import (
    DEFAULT_RESCORE,
    FoldedQuery,
    WeightedRanker,
    index_row,
)
from instruct_embeddings.transform.quality import standard_error
from instruct_embeddings.transform.transform import (
    DEEPEST_PREFETCH,
    DEFAULT_PREFETCH,
    InstructionTransform,
)
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# So many rows asked as queries tell enough.
QUERIES = 24
_K = 10
_STEPS = (10, 30, 60, 100, 150, 200, 300, 600)


def measured_prefetch(
    transform: InstructionTransform,
    collection: VectorCollection,
    vectors: FloatArray,
    recall: float,
) -> int:
    """The prefetch of a transform, with stored vectors (n, d) as queries; see `needed_prefetch`."""
    rankers = [WeightedRanker(transform, "fitted")]
    units = unit_rows(vectors[has_direction(vectors)][:QUERIES])
    queries = [FoldedQuery(rankers, unit[None]) for unit in units]
    return needed_prefetch(collection, queries, recall=recall)


def needed_prefetch(
    collection: VectorCollection, queries: Sequence[FoldedQuery], *, recall: float
) -> int:
    """The least prefetch that finds a share of the ten best rows, in the mean over some queries.

    The best are those that the deepest search finds and rescores. The mean has to exceed the share
    by its standard error, as few queries are asked. Nothing is measured, and the default returned,
    where searches make no use of it.
    """
    measures = collection.capabilities.cheap_vectors and all(one.order_is_exact for one in queries)
    if not measures:
        return DEFAULT_PREFETCH
    best = [_best(collection, query) for query in queries]
    least = max(_scored(query) for query in queries)
    for step in (one for one in _STEPS if one >= least):
        found = [_found(collection, query, step) for query in queries]
        shares = [len(wanted & ids) / len(wanted) for wanted, ids in zip(best, found, strict=True)]
        kept = np.array(shares, dtype=np.float32)
        if float(kept.mean()) - standard_error(kept) >= recall:
            return step
    return DEEPEST_PREFETCH


def _best(collection: VectorCollection, query: FoldedQuery) -> set[str]:
    """The ten best rows as far as an index can tell."""
    rescored = query.is_rescored
    near = collection.search(
        index_row(query), k=_scored(query), candidates=DEEPEST_PREFETCH, vectors=rescored
    )
    if not rescored:
        return set(near.ids)
    order = np.argsort(-query.score(near.rows), kind="stable")[:_K]
    return {near.ids[i] for i in order}


def _found(collection: VectorCollection, query: FoldedQuery, prefetch: int) -> set[str]:
    """What a search with this prefetch rescores, or ranks where nothing is rescored."""
    return set(collection.search(index_row(query), k=_scored(query), candidates=prefetch).ids)


def _scored(query: FoldedQuery) -> int:
    return DEFAULT_RESCORE if query.is_rescored else _K
