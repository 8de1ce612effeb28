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
from instruct_embeddings.transform.transform import InstructionTransform, Norms

_MIXES = (0.0, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class _Split:
    """One fold: a problem to fit on and one to judge on."""

    train: Problem
    held_out: Problem


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
    deadline = time.perf_counter() + config.time_budget
    strength, residual, folded = _choose_query(splits, deadline)
    weight, mix, adapted = _choose_mix(splits, strength, residual, config.seed)
    query = replace(problem.fit_queries(strength), residual=residual)
    space = replace(problem.fit_space(query, config.seed), weight=weight)
    report = FitReport(
        rows=len(vectors),
        judged=problem.size,
        label_counts=supervision.counts() if isinstance(supervision, Labels) else {},
        measure=problem.measure,
        generic=_mean(split.held_out.quality(_cosine) for split in splits),
        folded=folded,
        adapted=adapted,
        chosen={"strength": strength, "residual": residual, "weight": weight, "mix": mix},
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


def _choose_query(splits: list[_Split], deadline: float) -> tuple[float, float, float]:
    """Best (strength, residual, held-out quality) of the folded query."""
    best = (0.0, 0.0, -1.0)
    queries: list[QueryTransform | None] = [None] * len(splits)
    for strength in splits[0].train.strengths:
        if best[2] >= 0 and time.perf_counter() > deadline:
            break
        fitted = [s.train.fit_queries(strength, q) for s, q in zip(splits, queries, strict=True)]
        queries = list(fitted)
        for residual in splits[0].train.residuals:
            quality = _mean(
                split.held_out.quality(_folded_score(replace(query, residual=residual)))
                for split, query in zip(splits, fitted, strict=True)
            )
            if quality > best[2]:
                best = (strength, residual, quality)
    return best


def _choose_mix(
    splits: list[_Split], strength: float, residual: float, seed: int
) -> tuple[float, float, float]:
    """Best (weight of the classifier in the space, share of the space, held-out quality)."""
    fitted: list[tuple[_Split, QueryTransform, SpaceTransform]] = []
    for split in splits:
        query = replace(split.train.fit_queries(strength), residual=residual)
        fitted.append((split, query, split.train.fit_space(query, seed)))
    best = (0.0, 0.0, -1.0)
    for weight in splits[0].train.weights:
        for mix in _MIXES:
            quality = _mean(
                split.held_out.quality(_mixed_score(query, replace(space, weight=weight), mix))
                for split, query, space in fitted
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
