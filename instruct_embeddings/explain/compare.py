"""Compare the results of a query with those under an instruction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, IntArray, Metadata, Where
from instruct_embeddings.config import Instruction, at_least, check_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.categories import Categorised, adapted_view, categorise
from instruct_embeddings.explain.explanation import (
    Cloud,
    ComparedHit,
    ConstraintReading,
    Explanation,
    JudgedHit,
    JudgeReading,
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
_SHOWN_KEYS = 20


def explain(
    retriever: InstructRetriever,
    vector: ArrayLike,
    query: str,
    instruction: str | Instruction,
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
    judge: bool = True,
    label_key: str | None = None,
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
        judge: Ask the retriever's judge once, where there is one, and say what it changed; all else
            is said of the ranking without it.
        label_key: Metadata key of true labels, which are shown and colour the map. None takes the
            key that taught the transform, if one did.

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
    under = filters | {
        "query": query_text,
        "instruction": instruction,
        "blend": blend,
        "exact": exact,
    }
    under |= {"judge": False}
    before = _search(retriever, vector, k, filters)
    after = _search(retriever, vector, k, under | {"prefetch": prefetch})
    chosen = sample_rows(collection, sample, seed=seed)
    shown = list(dict.fromkeys([*list(after)[:k], *list(before)[:k]]))
    sampled = set(chosen.ids)
    unsampled = [row for row in shown if row not in sampled]
    further = collection.fetch(unsampled, vectors=True, records=True)
    rows = Rows.joined([chosen, further])
    generic = unit_rows(np.concatenate([rows.vectors, unit]))  # sample, other results, query
    position = {row: index for index, row in enumerate(rows.ids)}
    places = [position[row] for row in shown if row in position]
    constraints = _read_constraints(retriever, vector, text, chosen, under)
    key, labels = _true_labels(rows, label_key, transform)
    ranked_by: RankedBy = (
        "generic" if retriever.instant is None or query_text is None else "instant"
    )
    scores = [after[row].score if row in after else None for row in rows.ids]
    fit: dict[str, Any] = {}
    found = None
    if transform is not None:
        used = retriever.uses(transform, text)
        ranked_by = "fitted" if used else ranked_by
        weight = ((transform.report.blend or 1.0) if blend is None else blend) if used else 0.0
        fitted = transform.score(generic[-1:], generic[places], weight).tolist()
        for place, score in zip(places, fitted, strict=True):
            # Only the scores of the search include constraints and examples.
            if not (constraints or isinstance(instruction, Instruction)) or scores[place] is None:
                scores[place] = score
        adapted = adapted_view(transform, generic)
        found = categorise(transform, generic, adapted, chosen.texts, seed)
        results = (_positions(before, position, k), _positions(after, position, k))
        made = _fit_fields(transform, generic, adapted, found, results, rows.texts, labels)
        fit = {"used": used, **made}
    hits = _compared(rows, places, before, after, generic, scores, found, labels)
    against = [_against(hit, rows.metadatas[position[hit.id]], constraints, found) for hit in hits]
    return Explanation(
        query=query,
        instruction=text,
        ranked_by=next((hit.ranked_by for hit in after.values()), ranked_by),
        collection=collection.info().name,
        constraints=constraints,
        rows=len(chosen),
        stored=collection.count() if collection.capabilities.listing else None,
        k=k,
        depth=max(_DEPTH, k),
        hits=tuple(replace(hit, against=one) for hit, one in zip(hits, against, strict=True)),
        judged=_ask_judge(retriever, vector, k, after, under) if judge and query_text else None,
        label_key=key,
        **fit,
    )


def _ask_judge(
    retriever: InstructRetriever,
    vector: ArrayLike,
    k: int,
    before: Mapping[str, Hit],
    options: Mapping[str, Any],
) -> JudgeReading | None:
    """What the judge changes in the first k results of a search; None without a judge."""
    if retriever.feedback is None:
        return None
    known = retriever.distilled(options["instruction"])
    found = retriever.search(vector, k=k, **{**options, "judge": True})
    first = list(before.values())[:k]
    was = {hit.id: rank for rank, hit in enumerate(first, start=1)}
    rank = {hit.id: place for place, hit in enumerate(found, start=1)}
    gone = [hit for hit in first if hit.id not in rank]
    return JudgeReading(
        judge=retriever.feedback.judge.key,
        hits=tuple(
            JudgedHit(hit.id, hit.text, was.get(hit.id), rank.get(hit.id), hit.judge_score)
            for hit in [*found, *gone]
        ),
        problem=next((hit.judge_problem for hit in found), None),
        skipped=known is not None and known.skips,
    )


def _fit_fields(
    transform: InstructionTransform,
    generic: FloatArray,
    adapted: FloatArray,
    found: Categorised,
    results: tuple[IntArray, IntArray],
    texts: tuple[str | None, ...],
    labels: Sequence[str | None],
) -> dict[str, Any]:
    """What an explanation holds of a transform; the last row is the query, shape (n, d)."""
    return {
        "learned": transform.instruction,
        "guide": transform.guide,
        "report": transform.report,
        "labelled": found.labelled,
        "categories": found.categories,
        "query_category": found.names[-1],
        "query_probability": found.probabilities[-1],
        "cloud": Cloud(
            generic=generic[:-1],
            adapted=adapted[:-1],
            categories=found.positions[:-1],
            query_generic=generic[-1:],
            query_adapted=adapted[-1:],
            generic_results=results[0],
            adapted_results=results[1],
            texts=texts,
            labels=tuple(labels) if any(labels) else (),
        ),
    }


def _compared(
    rows: Rows,
    places: Sequence[int],
    before: Mapping[str, Hit],
    after: Mapping[str, Hit],
    generic: FloatArray,
    scores: Sequence[float | None],
    found: Categorised | None,
    labels: Sequence[str | None],
) -> tuple[ComparedHit, ...]:
    """The results with the ranks and scores of both searches."""
    ranks_before, ranks_after = (
        {row: rank for rank, row in enumerate(hits, start=1)} for hits in (before, after)
    )
    return tuple(
        ComparedHit(
            id=rows.ids[place],
            text=rows.texts[place],
            generic_rank=ranks_before.get(rows.ids[place]),
            adapted_rank=ranks_after.get(rows.ids[place]),
            generic_score=float(generic[place] @ generic[-1]),
            adapted_score=scores[place],
            category=None if found is None else found.names[place],
            probability=None if found is None else found.probabilities[place],
            label=labels[place],
        )
        for place in places
    )


def _true_labels(
    rows: Rows, key: str | None, transform: InstructionTransform | None
) -> tuple[str | None, list[str | None]]:
    """The metadata key of true labels, and the label of each row."""
    taught, _, own = (transform.guide if transform else "").partition(":")
    chosen = key or (own if taught == "metadata" else None)
    values = [None if chosen is None else metadata.get(chosen) for metadata in rows.metadatas]
    labels = [None if value in (None, "") else str(value) for value in values]
    if key is not None and not any(labels):
        raise ConfigError(
            f"None of the {len(rows):,} sampled rows has the metadata key {key!r}. Keys that "
            f"exist: {sorted({name for one in rows.metadatas for name in one})[:_SHOWN_KEYS]}."
        )
    return (chosen if any(labels) else None), labels


def _against(
    hit: ComparedHit,
    metadata: Metadata,
    constraints: Sequence[ConstraintReading],
    found: Categorised | None,
) -> str | None:
    """What contradicts the instruction in a hit that rose, by its metadata or its label."""
    rank, was = hit.adapted_rank, hit.generic_rank
    if rank is None or (was is not None and was <= rank):
        return None
    for reading in constraints:
        if one := reading.proposal:
            value = metadata.get(one.key)
            if value is not None and (value in one.values) == (reading.constraint.kind == "no"):
                return f'"{value}"'
    if found is None or not found.labelled:
        return None
    label, asked = hit.label if hit.label in found.names else hit.category, found.names[-1]
    return None if label == asked else f'"{label}" and the query is taken for "{asked}"'


def _positions(found: Mapping[str, Hit], position: Mapping[str, int], k: int) -> IntArray:
    """Where the first k hits are among rows, best first."""
    return np.array([position[row] for row in list(found)[:k] if row in position], dtype=np.int64)


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


def _read_constraints(
    retriever: InstructRetriever,
    vector: ArrayLike,
    instruction: str,
    rows: Rows,
    options: Mapping[str, Any],
) -> tuple[ConstraintReading, ...]:
    """The constraints of an instruction, whether the candidates speak of them, and filters."""
    constraints, answers = find_constraints(instruction), retriever.answers
    if answers is None:
        return tuple(
            ConstraintReading(one, None, propose_filter(one, rows.metadatas)) for one in constraints
        )
    if not constraints:
        return ()
    candidates = [hit.id for hit in retriever.search(vector, k=CANDIDATES, **options)]
    vectors = unit_rows(retriever.collection.fetch(candidates, vectors=True).vectors)
    moves = answers.moves
    close = moves.level(CLOSE)
    return tuple(
        ConstraintReading(
            one.constraint,
            speaks(vectors @ one.vector, one.seen) if candidates else 0.0,
            propose_filter(one.constraint, rows.metadatas, embed=moves.directions, close=close),
        )
        for one in answers.directions(constraints)
    )
