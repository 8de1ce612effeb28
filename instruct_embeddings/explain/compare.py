"""Compare the results of a query with those under an instruction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, IntArray, Where
from instruct_embeddings.config import at_least, check_instruction
from instruct_embeddings.explain.categories import adapted_view, categorise
from instruct_embeddings.explain.explanation import (
    Cloud,
    ComparedHit,
    ConstraintReading,
    Explanation,
)
from instruct_embeddings.explain.proposals import CLOSE, propose_filter
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval.constraints import CANDIDATES, find_constraints, speaks
from instruct_embeddings.retrieval.ranking import Hit, RankedBy
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row, unit_rows

_DEPTH = 100
_MIN_SAMPLE = 4


def explain(
    retriever: InstructRetriever,
    vector: ArrayLike,
    query: str,
    instruction: str,
    *,
    k: int = 10,
    sample: int = 1000,
    seed: int = 1,
    where: Where | None = None,
    where_document: Where | None = None,
    blend: float | None = None,
    prefetch: int | None = None,
    exact: bool = False,
    wait: bool | None = None,
) -> Explanation:
    """Compare the results of a query with those under an instruction, and say why they differ.

    With a fitted transform the explanation holds its report, its categories and a map. With the
    instant query nothing is fitted: ranks and scores only. Both list the constraints that the
    instruction states and the metadata filters that would answer them exactly; the filters are
    proposed, not applied.

    Args:
        retriever: The retriever.
        vector: Generic vector of the query, shape (d,).
        query: Its text, for the reader and for the instant query.
        instruction: The instruction.
        k: Results of each search.
        sample: Rows of the collection that categories and map are made of.
        seed: Seed of the sample, and of clusters where there are no labels. With another seed than
            the fit's, a large collection shows rows that the transform did not learn from.
        where: As in `InstructRetriever.search`; it does not restrict the sample.
        where_document: As in a search, likewise.
        blend: As in a search.
        prefetch: As in a search.
        exact: As in a search.
        wait: Fit an unknown instruction first. None does so if there is a guide, or no instant
            query.

    Raises:
        ConfigError: An argument is out of its range.
        GuideError: The instruction has to be fitted and cannot be.
        CollectionError: The collection is empty, stale, or of another dimension.
    """
    for name, value, least in (("k", k, 1), ("sample", sample, _MIN_SAMPLE), ("seed", seed, 0)):
        at_least(name, value, least, optional=False)
    text = check_instruction(instruction)
    query_text = query if query.strip() else None
    if wait is None:
        wait = retriever.guide is not None or retriever.instant is None or query_text is None
    transform = retriever.fitted(text, wait=wait)
    collection = retriever.collection
    unit = query_row(vector, collection.info().dimension)
    filters = {"where": where, "where_document": where_document}
    under = filters | {"query": query_text, "instruction": text, "blend": blend, "exact": exact}
    before = _search(retriever, vector, k, filters)
    after = _search(retriever, vector, k, under | {"prefetch": prefetch})
    rows = sample_rows(collection, sample, seed=seed)
    shown = dict.fromkeys([*list(after)[:k], *list(before)[:k]])
    results = collection.fetch(list(shown), vectors=True, records=True)
    vectors = [rows.vectors, *([results.vectors] if len(results) else []), unit]
    generic = unit_rows(np.concatenate(vectors))  # sample, results, query
    explanation = Explanation(
        query=query,
        instruction=text,
        ranked_by=_ranked_by(retriever, after, transform, text, query_text),
        collection=collection.info().name,
        constraints=_read_constraints(retriever, vector, text, rows, under),
        rows=len(rows),
        stored=collection.count(),
        k=k,
        depth=max(_DEPTH, k),
        hits=_compared(results, before, after, generic),
    )
    if transform is None:
        return explanation
    used = retriever.uses(transform, text)
    weight = ((transform.report.blend or 1.0) if blend is None else blend) if used else 0.0
    return replace(_with_fit(explanation, transform, rows, generic, weight, seed), used=used)


def _with_fit(
    explanation: Explanation,
    transform: InstructionTransform,
    rows: Rows,
    generic: FloatArray,
    weight: float,
    seed: int,
) -> Explanation:
    """Add what a fitted transform knows; `generic`: sample, results and query, shape (n, d)."""
    first = len(rows)
    scores = transform.score(generic[-1:], generic[first:-1], weight)
    adapted = adapted_view(transform, generic)
    found = categorise(transform, generic, adapted, rows.texts, seed)
    hits = []
    for index, hit in enumerate(explanation.hits):
        score: float | None = float(scores[index])
        if explanation.constraints and hit.adapted_score is not None:
            score = hit.adapted_score  # only the scores of the search include the constraints
        category, probability = found.names[first + index], found.probabilities[first + index]
        hits.append(replace(hit, adapted_score=score, category=category, probability=probability))
    return replace(
        explanation,
        learned=transform.instruction,
        guide=transform.guide,
        report=transform.report,
        labelled=found.labelled,
        categories=found.categories,
        query_category=found.names[-1],
        query_probability=found.probabilities[-1],
        hits=tuple(hits),
        cloud=_cloud(rows, hits, explanation.k, generic, adapted, found.positions),
    )


def _search(
    retriever: InstructRetriever, vector: ArrayLike, k: int, options: Mapping[str, Any]
) -> dict[str, Hit]:
    """Hits by id, best first: those of a search for k, then those that a deeper one adds.

    A deeper search may see more of an index and rescore more, so it only adds the ranks below.
    """
    depth = max(_DEPTH, k)
    if options.get("prefetch") is not None:
        depth = max(k, min(depth, options["prefetch"]))
    found: dict[str, Hit] = {}
    for wanted in (k, depth):
        for hit in retriever.search(vector, k=wanted, **options):
            found.setdefault(hit.id, hit)
    return found


def _ranked_by(
    retriever: InstructRetriever,
    found: Mapping[str, Hit],
    transform: InstructionTransform | None,
    instruction: str,
    query: str | None,
) -> RankedBy:
    """What ranked the results; where there are none, what would have."""
    for hit in found.values():
        return hit.ranked_by
    if transform is not None and retriever.uses(transform, instruction):
        return "fitted"
    return "generic" if retriever.instant is None or query is None else "instant"


def _read_constraints(
    retriever: InstructRetriever,
    vector: ArrayLike,
    instruction: str,
    rows: Rows,
    options: Mapping[str, Any],
) -> tuple[ConstraintReading, ...]:
    """The constraints of an instruction, whether the candidates speak of them, and filters."""
    constraints, answers = find_constraints(instruction), retriever.answers
    if not constraints:
        return ()
    if answers is None:
        return tuple(
            ConstraintReading(one, None, propose_filter(one, rows.metadatas)) for one in constraints
        )
    candidates = [hit.id for hit in retriever.search(vector, k=CANDIDATES, **options)]
    vectors = retriever.collection.fetch(candidates, vectors=True).vectors
    moves = answers.moves
    close = moves.level(CLOSE)
    return tuple(
        ConstraintReading(
            direction.constraint,
            speaks(unit_rows(vectors) @ direction.vector, direction.seen) if candidates else 0.0,
            propose_filter(
                direction.constraint, rows.metadatas, embed=moves.directions, close=close
            ),
        )
        for direction in answers.directions(constraints)
    )


def _compared(
    results: Rows, before: Mapping[str, Hit], after: Mapping[str, Hit], generic: FloatArray
) -> tuple[ComparedHit, ...]:
    """The results in their order, with the ranks and scores of both searches."""
    ranks_before, ranks_after = (
        {row: rank for rank, row in enumerate(hits, start=1)} for hits in (before, after)
    )
    cosines = generic[len(generic) - 1 - len(results) : -1] @ generic[-1]
    return tuple(
        ComparedHit(
            id=row,
            text=text,
            generic_rank=ranks_before.get(row),
            adapted_rank=ranks_after.get(row),
            generic_score=float(cosine),
            adapted_score=after[row].score if row in after else None,
            category=None,
            probability=None,
        )
        for row, text, cosine in zip(results.ids, results.texts, cosines, strict=True)
    )


def _cloud(
    rows: Rows,
    hits: Sequence[ComparedHit],
    k: int,
    generic: FloatArray,
    adapted: FloatArray,
    categories: IntArray,
) -> Cloud:
    """The vectors of sample and results, each row once."""
    first: dict[str, int] = {}
    for row, name in enumerate([*rows.ids, *(hit.id for hit in hits)]):
        first.setdefault(name, row)
    position = {name: index for index, name in enumerate(first)}
    kept = list(first.values())

    def best(ranks: Iterable[int | None]) -> IntArray:
        shown = [
            position[hit.id]
            for hit, rank in zip(hits, ranks, strict=True)
            if rank is not None and rank <= k
        ]
        return np.array(shown, dtype=np.int64)

    return Cloud(
        generic=generic[kept],
        adapted=adapted[kept],
        categories=categories[kept],
        query_generic=generic[-1:],
        query_adapted=adapted[-1:],
        generic_results=best(hit.generic_rank for hit in hits),
        adapted_results=best(hit.adapted_rank for hit in hits),
    )
