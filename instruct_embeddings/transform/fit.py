"""Fit a transform and measure it on held-out folds of its own sample."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

import numpy as np

from instruct_embeddings._threads import one_thread
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig, check_instruction
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels, Supervision, Targets
from instruct_embeddings.transform.problems import LabelProblem, Problem, problem_of
from instruct_embeddings.transform.quality import (
    Scorer,
    best_mean,
    choose,
    mean_quality,
    standard_error,
)
from instruct_embeddings.transform.regression import fit_classifier
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.transform import (
    Classifier,
    InstructionTransform,
    Norms,
    QueryTransform,
    SpaceTransform,
)

_MIXES = (0.0, 0.3, 0.5, 0.7)
_EQUALLY_GOOD = 0.005
_log = logging.getLogger(__name__)


class _Tuned(NamedTuple):
    """Chosen settings, and figures under them."""

    chosen: dict[str, float]
    start: QueryTransform  # fitted on one fold, from where a fit on the whole sample is near
    folded: FloatArray  # quality of each held-out unit, (units,)
    adapted: FloatArray
    tried: int  # settings that were measured


def fit_transform(
    vectors: FloatArray,
    supervision: Supervision,
    *,
    instruction: str,
    guide: str,
    collection: CollectionInfo,
    config: FitConfig,
    started: float | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
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
        on_step: Called after each penalty with the number tried and the number there are.

    Raises:
        GuideError: The supervision is too small or one-sided to learn from.
    """
    begin = time.perf_counter() if started is None else started
    text = check_instruction(instruction)
    problem = problem_of(vectors, supervision)
    splits = list(_splits(problem, config))
    labels = supervision.labels if isinstance(supervision, Targets) else supervision
    with one_thread():
        tuned = _tune(splits, config, on_step)
        chosen = tuned.chosen
        fitted = problem.fit_queries(chosen["strength"], tuned.start)
        query = replace(fitted, residual=chosen["residual"])
        space = replace(problem.fit_space(query, config.seed), weight=chosen["weight"])
        if isinstance(supervision, Targets) and isinstance(labels, Labels):
            space = replace(space, classifier=_naming(vectors, labels))
    generic = np.concatenate([held_out.quality(cosine) for _, held_out in splits])
    report = FitReport(
        rows=len(vectors),
        judged=problem.size,
        label_counts=labels.counts() if isinstance(labels, Labels) else {},
        measure=splits[0][1].measure,
        generic=mean_quality([generic]),
        folded=mean_quality([tuned.folded]),
        adapted=mean_quality([tuned.adapted]),
        gain_error=standard_error(tuned.adapted - generic),
        chosen=chosen,
        seconds=time.perf_counter() - begin,
    )
    _log.info(
        f"{text!r}: {tuned.tried} settings tried on {len(splits)} folds of {problem.size} judged "
        f"units, {report.seconds:.1f} s so far"
    )
    return InstructionTransform(
        instruction=text,
        guide=guide,
        collection=collection,
        query=query,
        space=space,
        mix=chosen["mix"],
        norms=Norms.of(vectors),
        report=report,
        config=config,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _naming(vectors: FloatArray, labels: Labels) -> Classifier | None:
    """Names the labels of rows without changing their ranking; None for fewer than two labels."""
    try:
        problem = LabelProblem.of(vectors, labels)
    except GuideError:
        return None
    return fit_classifier(problem.vectors, problem.targets, problem.strengths[0])


def _splits(problem: Problem, config: FitConfig) -> Iterator[tuple[Problem, Problem]]:
    """Folds of whole groups, or of single units where there are too few: to fit on, to judge on."""
    groups = problem.groups
    if groups.max() + 1 < config.folds:
        groups = np.arange(problem.size)
    order = np.random.default_rng(config.seed).permutation(int(groups.max()) + 1)
    for chosen in np.array_split(order, config.folds):
        held_out = np.isin(groups, chosen)
        train, judged = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        yield problem.subset(train), problem.subset(judged)


def _tune(
    splits: list[tuple[Problem, Problem]], config: FitConfig, on_step: Callable[[int, int], None]
) -> _Tuned:
    """Choose the folded query's settings, then those of the rescoring space on top of it."""
    first, deadline = splits[0][0], time.perf_counter() + config.time_budget
    fits: dict[float, list[QueryTransform]] = {}
    folded: dict[tuple[float, float], list[FloatArray]] = {}
    fitted: list[QueryTransform] | list[None] = [None] * len(splits)
    best = -1.0
    for strength in first.strengths:
        if fits and time.perf_counter() > deadline:
            break
        fitted = [
            train.fit_queries(strength, start)
            for (train, _), start in zip(splits, fitted, strict=True)
        ]
        fits[strength], before = fitted, best
        for residual in first.residuals:
            folded[strength, residual] = [
                held_out.quality(_folded_score(replace(query, residual=residual)))
                for (_, held_out), query in zip(splits, fitted, strict=True)
            ]
            best = max(best, mean_quality(folded[strength, residual]))
        on_step(len(fits), len(first.strengths))
        # Strengths come as middle, above, below: where above gained, below will not.
        if 0 <= before < best:
            break
    (strength, residual), folded_figures = choose(folded, _closest_of_the_best)
    queries = [replace(query, residual=residual) for query in fits[strength]]
    adapted: dict[tuple[float, float], list[FloatArray]] = {
        (weight, mix): [] for weight in first.weights for mix in _MIXES
    }
    for (train, held_out), query in zip(splits, queries, strict=True):
        space = train.fit_space(query, config.seed)
        for weight, mix in adapted:
            score = mixed_score(query, replace(space, weight=weight), mix)
            adapted[weight, mix].append(held_out.quality(score))
    (weight, mix), adapted_figures = choose(adapted, best_mean)
    chosen = {"strength": strength, "residual": residual, "weight": weight, "mix": mix}
    tried = len(folded) + len(adapted)
    return _Tuned(chosen, queries[0], folded_figures, adapted_figures, tried)


def _closest_of_the_best(means: Mapping[tuple[float, float], float]) -> tuple[float, float]:
    """Of (strength, residual) that are equally good, the one with the largest residual.

    Its queries stay closest to the stored vectors, where an approximate index finds its way.
    """
    enough = max(means.values()) - _EQUALLY_GOOD
    good = [setting for setting, mean in means.items() if mean >= enough]
    return max(good, key=lambda setting: (setting[1], means[setting]))


def cosine(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """The generic scores of unit vectors, shapes (q, d) and (n, d) to (q, n)."""
    return queries @ documents.T


def _folded_score(query: QueryTransform) -> Scorer:
    return lambda queries, documents: query.fold(queries) @ documents.T


def mixed_score(query: QueryTransform, space: SpaceTransform, mix: float) -> Scorer:
    """The adapted scores: of the folded query, with the share `mix` of those of a space."""
    folded = _folded_score(query)
    if mix == 0.0:
        return folded
    return lambda queries, documents: (
        (1 - mix) * folded(queries, documents) + mix * space.score(queries, documents)
    )
