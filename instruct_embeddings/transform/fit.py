"""Fit a transform and measure it on held-out folds of its own sample."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig, check_instruction
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels, Supervision, Targets
from instruct_embeddings.transform.from_labels import LabelProblem
from instruct_embeddings.transform.from_pairs import PairProblem
from instruct_embeddings.transform.from_targets import TargetProblem
from instruct_embeddings.transform.problem import Problem, Scorer
from instruct_embeddings.transform.query import QueryTransform
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.space import SpaceTransform
from instruct_embeddings.transform.threads import one_thread
from instruct_embeddings.transform.transform import InstructionTransform, Norms

_MIXES = (0.0, 0.3, 0.5, 0.7)
_EQUALLY_GOOD = 0.005


@dataclass(frozen=True)
class _Split:
    """One fold: a problem to fit on and one to judge on."""

    train: Problem
    held_out: Problem


@dataclass(frozen=True)
class _Chosen:
    """Settings of the folded query, their held-out quality, and the queries fitted on each fold."""

    strength: float
    residual: float
    quality: float
    queries: list[QueryTransform]


def fit_transform(
    vectors: FloatArray,
    supervision: Supervision,
    *,
    instruction: str,
    guide: str,
    collection: CollectionInfo,
    config: FitConfig,
    started: float | None = None,
) -> InstructionTransform:
    """Fit the folded query and the rescoring space, choosing settings on held-out folds.

    Args:
        vectors: Stored vectors of the sample, shape (n, d).
        supervision: What the guide said about these rows.
        instruction: The instruction.
        guide: Key of the guide.
        collection: The collection that the sample comes from.
        config: Sizes, seed and time budget.
        started: `time.perf_counter()` when sampling began, to report the whole cost.

    Raises:
        GuideError: The supervision is too small or one-sided to learn from.
    """
    begin = time.perf_counter() if started is None else started
    text = check_instruction(instruction)
    problem = _problem(vectors, supervision)
    splits = list(_splits(problem, config))
    with one_thread():
        chosen = _choose_query(splits, time.perf_counter() + config.time_budget)
        weight, mix, adapted = _choose_mix(splits, chosen, config.seed)
        fitted = problem.fit_queries(chosen.strength, chosen.queries[0])
        query = replace(fitted, residual=chosen.residual)
        space = replace(problem.fit_space(query, config.seed), weight=weight)
    report = FitReport(
        rows=len(vectors),
        judged=problem.size,
        label_counts=supervision.counts() if isinstance(supervision, Labels) else {},
        measure=splits[0].held_out.measure,
        generic=_mean(split.held_out.quality(_cosine) for split in splits),
        folded=chosen.quality,
        adapted=adapted,
        chosen={
            "strength": chosen.strength,
            "residual": chosen.residual,
            "weight": weight,
            "mix": mix,
        },
        seconds=time.perf_counter() - begin,
    )
    return InstructionTransform(
        instruction=text,
        guide=guide,
        collection=collection,
        query=query,
        space=space,
        mix=mix,
        norms=Norms.of(vectors),
        report=report,
        config=config,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _problem(vectors: FloatArray, supervision: Supervision) -> Problem:
    if isinstance(supervision, Labels):
        return LabelProblem.of(vectors, supervision)
    if isinstance(supervision, Targets):
        return TargetProblem.of(vectors, supervision)
    return PairProblem.of(supervision)


def _splits(problem: Problem, config: FitConfig) -> Iterator[_Split]:
    order = np.random.default_rng(config.seed).permutation(problem.size)
    for held_out in np.array_split(order, config.folds):
        train = np.setdiff1d(order, held_out)
        yield _Split(problem.subset(train), problem.subset(held_out))


def _fit_folds(
    splits: list[_Split], deadline: float
) -> Iterator[tuple[float, list[QueryTransform]]]:
    """Each strength with the queries fitted on each fold, until the time is up."""
    queries: list[QueryTransform | None] = [None] * len(splits)
    for strength in splits[0].train.strengths:
        if queries[0] is not None and time.perf_counter() > deadline:
            return
        fitted = [s.train.fit_queries(strength, q) for s, q in zip(splits, queries, strict=True)]
        queries = list(fitted)
        yield strength, fitted


def _choose_query(splits: list[_Split], deadline: float) -> _Chosen:
    """The best strength and residual of the folded query.

    Of settings that are equally good, the one with the largest residual is taken: its queries stay
    closest to the stored vectors, where an approximate index finds its way.
    """
    tried: list[_Chosen] = []
    for strength, fitted in _fit_folds(splits, deadline):
        for residual in splits[0].train.residuals:
            queries = [replace(query, residual=residual) for query in fitted]
            quality = _mean(
                split.held_out.quality(_folded_score(query))
                for split, query in zip(splits, queries, strict=True)
            )
            tried.append(_Chosen(strength, residual, quality, queries))
    enough = max(choice.quality for choice in tried) - _EQUALLY_GOOD
    good = [choice for choice in tried if choice.quality >= enough]
    return max(good, key=lambda choice: (choice.residual, choice.quality))


def _choose_mix(splits: list[_Split], chosen: _Chosen, seed: int) -> tuple[float, float, float]:
    """Best (weight of the classifier in the space, share of the space, held-out quality)."""
    spaces = [s.train.fit_space(q, seed) for s, q in zip(splits, chosen.queries, strict=True)]
    best = (0.0, 0.0, -1.0)
    for weight in splits[0].train.weights:
        for mix in _MIXES:
            quality = _mean(
                split.held_out.quality(_mixed_score(query, replace(space, weight=weight), mix))
                for split, query, space in zip(splits, chosen.queries, spaces, strict=True)
            )
            if quality > best[2]:
                best = (weight, mix, quality)
    return best


def _cosine(queries: FloatArray, documents: FloatArray) -> FloatArray:
    return queries @ documents.T


def _folded_score(query: QueryTransform) -> Scorer:
    return lambda queries, documents: query.fold(queries) @ documents.T


def _mixed_score(query: QueryTransform, space: SpaceTransform, mix: float) -> Scorer:
    folded = _folded_score(query)
    if mix == 0.0:
        return folded
    return lambda queries, documents: (
        (1 - mix) * folded(queries, documents) + mix * space.score(queries, documents)
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
