"""What a refinement costs in a persistent Chroma collection, beside the query that it follows.

The judge answers at once, so that only the package's own time counts: reading the candidates,
learning, asking the index again, putting the hits together. All parts of a query take turns.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import Base, mix, read_base
from benchmarks.query import K, build, spread
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import InstantQuery, InstructEncoder, InstructRetriever, MetadataGuide
from instruct_embeddings.retrieval.feedback import RelevanceFeedback, Verdict
from instruct_embeddings.retrieval.judged_search import JudgedSearch
from instruct_embeddings.retrieval.ranking import SearchRequest

_WARM_UP = 5
_SHOWN = 200  # characters that `build` stores of a text
PLAIN, FIRST, INDEX, REFINEMENT = "plain ms", "adapted ms", "index ms", "refinement ms"


def measure_cost(
    data: Path, generic: InstructEncoder, size: int, queries: int, seed: int
) -> list[dict[str, Any]]:
    """Milliseconds with a fitted transform and with the instant query, medians and percentiles.

    Args:
        data: Folder that holds `dev/`.
        generic: Makes the vectors.
        size: Stored vectors.
        queries: Timed of each.
        seed: Of the vectors and queries.
    """
    base = read_base(generic, data, seed)
    collection, _ = build(base, size, seed)
    stored = ChromaVectors(collection)
    aspect, instruction = next(iter(base.instructions.items()))
    rng = np.random.default_rng(seed + 1)
    holders = np.array([i for i, labels in enumerate(base.labels) if aspect in labels])
    vectors, parents = mix(base, queries + _WARM_UP, rng, rng.choice(holders, queries + _WARM_UP))
    feedback = RelevanceFeedback(partial(_same_label, _labels(base, aspect)))
    fitted = InstructRetriever(stored, MetadataGuide(aspect), force=True, feedback=feedback)
    fitted.transform(instruction)
    instant = InstructRetriever(stored, instant=InstantQuery.from_pretrained(), feedback=feedback)
    rows = []
    for name, retriever in (("fitted transform", fitted), ("instant query", instant)):
        times: dict[str, list[float]] = {PLAIN: [], FIRST: [], INDEX: [], REFINEMENT: []}
        for vector, parent in zip(vectors, parents, strict=True):
            query = partial(collection.query, query_embeddings=[vector], n_results=K)
            _, plain = _timed(query)
            text = base.texts[parent]
            search = partial(
                retriever.search, vector, query=text, instruction=instruction, k=K, judge=False
            )
            _, first = _timed(search)
            judged = retriever._begin(vector, text, instruction, SearchRequest(K))
            assert isinstance(judged, JudgedSearch)
            # A copy, which folds anew.
            again = partial(judged.rank, replace(judged.folded), max(K, feedback.candidates))
            _, index = _timed(again)
            refinement = _refine(judged, feedback)
            for key, ms in zip(times, (plain, first, index, refinement), strict=True):
                times[key].append(ms)
        shown = {key: spread(several[_WARM_UP:]) for key, several in times.items()}
        rows.append({"n": size, "ranked by": name, "queries": queries, **shown})
    return rows


def _refine(search: JudgedSearch, feedback: RelevanceFeedback) -> float:
    """Milliseconds of one refinement but for the judge's own."""
    total = 0.0
    question, ms = _timed(search.question)
    total += ms
    while question is not None:
        verdict: Verdict = feedback.ask(question)
        total += _timed(partial(search.take, verdict))[1]
        question, ms = _timed(search.question)
        total += ms
    return total + _timed(search.hits)[1]


def _labels(base: Base, aspect: str) -> dict[str, Any]:
    pairs = zip(base.texts, base.labels, strict=True)
    return {text[:_SHOWN]: labels.get(aspect) for text, labels in pairs}


def _same_label(
    labels: dict[str, Any], query: str, instruction: str | None, texts: Sequence[str]
) -> list[float]:
    own = labels[query[:_SHOWN]]
    return [float(labels.get(text) == own) for text in texts]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    found = call()
    return found, 1e3 * (time.perf_counter() - started)
