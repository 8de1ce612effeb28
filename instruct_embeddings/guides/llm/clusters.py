"""Groups of summaries that say similar things, and a few members that stand for each."""

import math

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.transform.clusters import nearest_centre, spherical_k_means
from instruct_embeddings.transform.vectors import unit_rows

_MOST_CLUSTERS = 30


def cluster_count(rows: int) -> int:
    """Clusters for a number of summaries: the square root, at least 2 and at most 30.

    More than there are categories, since duplicates are merged afterwards and a category that
    shares its cluster with a larger one may be overlooked.
    """
    return max(2, min(_MOST_CLUSTERS, round(math.sqrt(rows))))


def cluster_rows(vectors: FloatArray, count: int, seed: int) -> list[IntArray]:
    """Groups of rows of similar direction.

    Args:
        vectors: Rows to group, shape (n, d), n >= 1.
        count: Most clusters; fewer are found where rows coincide.
        seed: Seed of the first centres.

    Returns:
        Positions of the members of each cluster, nearest to its centre first; no cluster is empty
        and each row is in one.
    """
    rows = unit_rows(vectors)
    centres = spherical_k_means(rows, count, seed)
    nearest = nearest_centre(rows, centres)
    closeness = (rows @ centres.T).max(axis=1)
    order = np.argsort(-closeness, kind="stable")
    groups = [order[nearest[order] == cluster] for cluster in range(len(centres))]
    return [group for group in groups if len(group)]


def pick_members(members: list[str], *, nearest: int, others: int, seed: int) -> list[str]:
    """The first few different members, and some of the rest.

    Args:
        members: Members of a cluster, nearest to its centre first.
        nearest: Taken from the front.
        others: Drawn from those behind, so that the edge of the cluster has a say too.
        seed: Seed of the draw.
    """
    different = list(dict.fromkeys(members))
    rest = different[nearest:]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:others]
    return different[:nearest] + [rest[i] for i in sorted(drawn)]
