"""Look at what an instruction does: its categories, and which results move."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from instruct_embeddings._types import Where
from instruct_embeddings.config import at_least, check_instruction
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval.explanation import Explanation, Moved
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.retrieval.sight import Sight
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row

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
) -> Explanation:
    """Compare the results of a query with those under an instruction, and say why they differ.

    Args:
        engine: The retriever; it fits the instruction if it does not know it yet.
        vector: Generic vector of the query, shape (d,).
        query: Its text, for the reader.
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

    Raises:
        ConfigError: An argument is out of its range.
        GuideError: The instruction has to be fitted and cannot be.
        CollectionError: The collection is empty, stale, or of another dimension.
    """
    at_least("k", k, 1, optional=False)
    at_least("sample", sample, _FEWEST_ROWS, optional=False)
    at_least("seed", seed, 0, optional=False)
    text = check_instruction(instruction)
    transform = engine.transform(text)
    unit = query_row(vector, transform.collection.dimension)
    filters = {"where": where, "where_document": where_document}
    adapted = {"instruction": text, "blend": blend, "prefetch": prefetch, "exact": exact}
    before = _ranks(engine, vector, k, filters)
    after = _ranks(engine, vector, k, filters | adapted)
    rows = sample_rows(engine.collection, sample, seed=seed)
    results = engine.collection.fetch(_shown(before, after, k), vectors=True, records=True)
    used = transform.report.used or engine.insist
    share = (transform.report.blend or 1.0) if blend is None else blend
    sight = Sight.of(transform, rows, results, unit, seed)
    return Explanation(
        query=query,
        instruction=text,
        learned=transform.instruction,
        collection=transform.collection.name,
        guide=transform.guide,
        report=transform.report,
        used=used,
        labelled=sight.grouping.names is not None,
        rows=len(rows),
        stored=engine.collection.count(),
        categories=sight.categories,
        query_category=sight.category(-1),
        query_probability=sight.probability(-1),
        k=k,
        depth=max(_DEPTH, k),
        hits=_hits(results, before, after, sight, transform, share if used else 0.0),
        cloud=sight.cloud(rows, results, before, after, k),
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


def _ranks(
    engine: InstructRetriever, vector: ArrayLike, k: int, options: Mapping[str, Any]
) -> dict[str, int]:
    """Rank of the first hundred rows by id, in order.

    The results are those of a search for k. A search for more may see more of an index and rescore
    more, so it only tells the ranks below.
    """
    depth = max(_DEPTH, k)
    if options.get("prefetch") is not None:
        depth = max(k, min(depth, options["prefetch"]))
    found = [hit.id for wanted in (k, depth) for hit in engine.search(vector, k=wanted, **options)]
    return {row: rank for rank, row in enumerate(dict.fromkeys(found), start=1)}


def _shown(before: Mapping[str, int], after: Mapping[str, int], k: int) -> list[str]:
    """The results under the instruction, then the generic ones that are not among them."""
    best = [row for row, rank in after.items() if rank <= k]
    gone = [row for row, rank in before.items() if rank <= k]
    return list(dict.fromkeys([*best, *gone]))
