"""Reorders candidates by constraints: what is wanted comes first, what is not wanted last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.constraints import Constraint
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Chosen on the constraint suite of `make bench-retrieval` and on plain questions, in round numbers.
CANDIDATES = 400
_STRENGTH = {"only": 1.0, "prefer": 1.0, "no": 4.0}
SEEN = (0.15, 0.30)
_CLOSEST = 40  # one candidate in so many has to be close


@dataclass(frozen=True)
class Direction:
    """A constraint as a search can use it.

    Attributes:
        constraint: What is wanted or not.
        vector: Generic unit vector of what it names, shape (d,).
        seen: Cosines between which the collection is taken to speak of it: at the lower one not at
            all, at the higher one fully.
    """

    constraint: Constraint
    vector: FloatArray
    seen: tuple[float, float] = SEEN


def reorder(
    collection: VectorCollection,
    ranked: Sequence[tuple[str, float]],
    directions: Sequence[Direction],
    *,
    k: int,
    blend: float = 1.0,
) -> list[tuple[str, float]]:
    """The best of some candidates under constraints, best first.

    Args:
        collection: Where their vectors are.
        ranked: Ids and scores of candidates, best first.
        directions: The constraints.
        k: Results wanted.
        blend: 0 leaves the order as it is, 1 obeys fully.
    """
    scores = dict(ranked)
    rows = collection.fetch(list(scores), vectors=True)
    before = np.array([scores[row] for row in rows.ids], dtype=np.float32)
    obeyed = obey(before, unit_rows(rows.vectors), directions)
    after = before + np.float32(blend) * (obeyed - before)
    after = np.where(has_direction(rows.vectors), after, -np.inf)
    best = np.argsort(-after, kind="stable")[:k]
    return [(rows.ids[i], float(np.clip(after[i], -1.0, 1.0))) for i in best]


def obey(scores: FloatArray, documents: FloatArray, directions: Sequence[Direction]) -> FloatArray:
    """Scores of candidates that obey constraints.

    To the score of a candidate the cosine with what is wanted is added, and that with what is not
    wanted taken away, but only the part of it that the score itself does not explain: so the topic
    of the query is kept while the aspect changes. What is not wanted never raises a candidate.
    Where no candidate speaks of what is named, the scores stay as they are.

    Args:
        scores: Of n candidates, higher is better, shape (n,).
        documents: Their unit vectors, shape (n, d).
        directions: The constraints.

    Returns:
        Shape (n,); they may leave [-1, 1], as what is wanted adds up.
    """
    found = scores.astype(np.float64)
    if len(scores) < 2:
        return scores
    topic = scores - scores.mean()
    spread = max(float(topic @ topic), 1e-12)
    for direction in directions:
        cosines = documents @ direction.vector
        apart = cosines - cosines.mean()
        apart = apart - topic * (apart @ topic / spread)
        kind = direction.constraint.kind
        share = _STRENGTH[kind] * speaks(cosines, direction.seen)
        found = found - share * np.maximum(apart, 0) if kind == "no" else found + share * apart
    return np.asarray(found, dtype=np.float32)


def speaks(cosines: FloatArray, seen: tuple[float, float]) -> float:
    """How far candidates speak of something, from 0 to 1, by the closest fortieth of them.

    Args:
        cosines: Of the candidates with it, shape (n,).
        seen: Cosines at which they do not, and fully do.

    "Passages that report experimental results" is close to nothing in a collection of abstracts,
    "programs written in Python" to many package descriptions.
    """
    place = max(1, len(cosines) // _CLOSEST)
    level = float(np.partition(cosines, -place)[-place])
    low, high = seen
    return float(np.clip((level - low) / (high - low), 0.0, 1.0))
