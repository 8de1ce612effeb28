"""Look at what an instruction does: its categories, and which results move."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import at_least, check_instruction
from instruct_embeddings.explain.explanation import Explanation, Moved, Reading
from instruct_embeddings.explain.proposals import CLOSE, propose_filter
from instruct_embeddings.explain.sight import Sight
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval.constrained import CANDIDATES, speaks
from instruct_embeddings.retrieval.constraints import find_constraints
from instruct_embeddings.retrieval.hits import Hit, RankedBy
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row, unit_rows

_DEPTH = 100
_FEWEST_ROWS = 4


def explain(
    engine: InstructRetriever,
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

    Where a fitted transform answers, its report, its categories and a map are told; where the
    instant query does, nothing is fitted, and ranks and scores are told alone. In both cases the
    constraints that the instruction states, whether the results speak of them, and the filters on
    metadata that would answer them exactly; those are proposed, not applied.

    Args:
        engine: The retriever.
        vector: Generic vector of the query, shape (d,).
        query: Its text, for the reader and for the instant query.
        instruction: The instruction.
        k: Results of each search.
        sample: Rows of the collection that categories and map are made of.
        seed: Seed of the sample, and of clusters where there are no labels. Another than that of
            the fit shows rows of a large collection that the transform did not learn from.
        where: As in `InstructRetriever.search`; it does not restrict the sample.
        where_document: As in a search, likewise.
        blend: As in a search.
        prefetch: As in a search.
        exact: As in a search.
        wait: Fit the instruction first where it is not known yet. None does so where there is a
            guide that can teach it, or no instant query.

    Raises:
        ConfigError: An argument is out of its range.
        GuideError: The instruction has to be fitted and cannot be.
        CollectionError: The collection is empty, stale, or of another dimension.
    """
    at_least("k", k, 1, optional=False)
    at_least("sample", sample, _FEWEST_ROWS, optional=False)
    at_least("seed", seed, 0, optional=False)
    text = check_instruction(instruction)
    asked = query if query.strip() else None
    fits = engine.guide is not None or engine.instant is None or asked is None
    transform = engine.fitted(text, wait=fits if wait is None else wait)
    unit = query_row(vector, engine.collection.info().dimension)
    filters = {"where": where, "where_document": where_document}
    under = {"query": asked, "instruction": text, "blend": blend, "exact": exact}
    before, _ = _ranked(engine, vector, k, filters)
    after, found = _ranked(engine, vector, k, filters | under | {"prefetch": prefetch})
    rows = sample_rows(engine.collection, sample, seed=seed)
    results = engine.collection.fetch(_shown(before, after, k), vectors=True, records=True)
    readings = _readings(engine, vector, text, rows, filters | under)
    shared = Explanation(
        query=query,
        instruction=text,
        ranked_by=_ranked_by(engine, found, transform, text, asked),
        collection=engine.collection.info().name,
        constraints=readings,
        rows=len(rows),
        stored=engine.collection.count(),
        k=k,
        depth=max(_DEPTH, k),
        hits=(),
    )
    scores = {hit.id: hit.score for hit in found}
    if transform is None:
        return replace(shared, hits=_moved(results, before, after, unit, scores))
    used = engine.uses(transform, text)
    share = (transform.report.blend or 1.0) if blend is None else blend
    sight = Sight.of(transform, rows, results, unit, seed)
    ranks = _hits(results, before, after, sight, transform, share if used else 0.0)
    if readings:  # the search has added them to the scores
        ranks = tuple(
            replace(hit, adapted_score=scores.get(hit.id, hit.adapted_score)) for hit in ranks
        )
    return replace(
        shared,
        learned=transform.instruction,
        guide=transform.guide,
        report=transform.report,
        used=used,
        labelled=sight.grouping.names is not None,
        categories=sight.categories,
        query_category=sight.category(-1),
        query_probability=sight.probability(-1),
        hits=ranks,
        cloud=sight.cloud(rows, results, before, after, k),
    )


def _ranked_by(
    engine: InstructRetriever,
    found: Sequence[Hit],
    transform: InstructionTransform | None,
    instruction: str,
    query: str | None,
) -> RankedBy:
    """What ranked the results; where there are none, what would have."""
    if found:
        return found[0].ranked_by
    if transform is not None and engine.uses(transform, instruction):
        return "fitted"
    return "generic" if engine.instant is None or query is None else "instant"


def _readings(
    engine: InstructRetriever,
    vector: ArrayLike,
    instruction: str,
    rows: Rows,
    options: Mapping[str, Any],
) -> tuple[Reading, ...]:
    """The constraints of an instruction, whether the candidates speak of them, and filters."""
    constraints, answers = find_constraints(instruction), engine.answers
    if not constraints:
        return ()
    if answers is None:
        return tuple(Reading(one, None, propose_filter(one, rows.metadatas)) for one in constraints)
    candidates = [hit.id for hit in engine.search(vector, k=CANDIDATES, **options)]
    vectors = engine.collection.fetch(candidates, vectors=True).vectors
    moves = answers.moves
    close = moves.level(CLOSE)
    return tuple(
        Reading(
            direction.constraint,
            speaks(unit_rows(vectors) @ direction.vector, direction.seen) if candidates else 0.0,
            propose_filter(
                direction.constraint, rows.metadatas, embed=moves.directions, close=close
            ),
        )
        for direction in answers.directions(constraints)
    )


def _moved(
    results: Rows,
    before: Mapping[str, int],
    after: Mapping[str, int],
    unit: FloatArray,
    scores: Mapping[str, float],
) -> tuple[Moved, ...]:
    """The results in their order, with ranks and scores."""
    cosines = (unit_rows(results.vectors) @ unit[0]) if len(results) else ()
    return tuple(
        Moved(
            id=row,
            text=text,
            generic_rank=before.get(row),
            adapted_rank=after.get(row),
            generic_score=float(cosine),
            adapted_score=scores.get(row),
            category=None,
            probability=None,
        )
        for row, text, cosine in zip(results.ids, results.texts, cosines, strict=True)
    )


def _hits(
    results: Rows,
    before: Mapping[str, int],
    after: Mapping[str, int],
    sight: Sight,
    transform: InstructionTransform,
    blend: float,
) -> tuple[Moved, ...]:
    """The results in their order, with ranks, scores and guesses."""
    first = len(sight.generic) - 1 - len(results)
    query, vectors = sight.generic[-1:], sight.generic[first:-1]
    generic = (query @ vectors.T)[0]
    adapted = transform.score(query, vectors, blend)
    return tuple(
        Moved(
            id=row,
            text=results.texts[place],
            generic_rank=before.get(row),
            adapted_rank=after.get(row),
            generic_score=float(generic[place]),
            adapted_score=float(adapted[place]),
            category=sight.category(first + place),
            probability=sight.probability(first + place),
        )
        for place, row in enumerate(results.ids)
    )


def _ranked(
    engine: InstructRetriever, vector: ArrayLike, k: int, options: Mapping[str, Any]
) -> tuple[dict[str, int], list[Hit]]:
    """Rank of the first hundred rows by id, in order, and the hits themselves.

    The results are those of a search for k. A search for more may see more of an index and rescore
    more, so it only tells the ranks below.
    """
    depth = max(_DEPTH, k)
    if options.get("prefetch") is not None:
        depth = max(k, min(depth, options["prefetch"]))
    found = [hit for wanted in (k, depth) for hit in engine.search(vector, k=wanted, **options)]
    first = {hit.id: hit for hit in reversed(found)}
    ids = list(dict.fromkeys(hit.id for hit in found))
    return {row: rank for rank, row in enumerate(ids, start=1)}, [first[row] for row in ids]


def _shown(before: Mapping[str, int], after: Mapping[str, int], k: int) -> list[str]:
    """The results under the instruction, then the generic ones that are not among them."""
    best = [row for row, rank in after.items() if rank <= k]
    gone = [row for row, rank in before.items() if rank <= k]
    return list(dict.fromkeys([*best, *gone]))
