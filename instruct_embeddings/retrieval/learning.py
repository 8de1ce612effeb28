"""From a collection and a guide to fitted transforms: sample, judge, fit."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.protocols import EncodingGuide, Guide, Rows, VectorCollection
from instruct_embeddings.retrieval.kinds import compares_documents
from instruct_embeddings.retrieval.progress import Progress
from instruct_embeddings.retrieval.sampling import sample_rows, unchanged
from instruct_embeddings.supervision import Labels, Supervision, Targets
from instruct_embeddings.transform.fit import fit_transform
from instruct_embeddings.transform.guide_check import GuideCheck, check_guide
from instruct_embeddings.transform.problems import held_out_agreement
from instruct_embeddings.transform.report import Stopped
from instruct_embeddings.transform.threads import one_thread
from instruct_embeddings.transform.transform import InstructionTransform

# Where fewer of the sampled rows carry a label, several times as many are judged.
_SPARSE = 0.3
_SPARSE_FACTOR = 4
# A guide that encodes starts with so many rows, and is asked about as many again while it pays.
FIRST_ROWS = 250
_WORTH_MORE_ROWS = 0.01


@dataclass(frozen=True)
class Lesson:
    """What a transform is fitted on.

    Attributes:
        vectors: Stored vectors of the sample, shape (n, d).
        supervision: What the guide said about these rows.
        growth: Sample size and agreement with the guide on held-out rows, for each size tried;
            empty where the guide does not encode.
        stopped: What ended the growth, likewise.
        check: Signs of whether a guide that gives targets can be trusted; None for others.
    """

    vectors: FloatArray
    supervision: Supervision
    growth: tuple[tuple[int, float], ...] = ()
    stopped: Stopped | None = None
    check: GuideCheck | None = None


def fit_all(
    collection: VectorCollection,
    guide: Guide,
    instructions: Sequence[str],
    config: FitConfig,
    progress: Progress | None = None,
) -> list[InstructionTransform]:
    """Fit the transforms of some instructions.

    Args:
        collection: Where to sample.
        guide: Teaches all of them.
        instructions: What to adapt to.
        config: Sizes, seed, budgets.
        progress: Is told how it goes on.

    Raises:
        GuideError: There is nothing to learn from.
        EmptyCollectionError: The collection is empty.
        StaleCollectionError: It was made anew meanwhile.
    """
    started = time.perf_counter()
    told = progress or Progress(instructions)
    with unchanged(collection) as info:
        lessons = _learn(collection, guide, instructions, config, started, told)
    fitted = []
    for text, lesson in zip(instructions, lessons, strict=True):
        transform = fit_transform(
            lesson.vectors,
            lesson.supervision,
            instruction=text,
            guide=guide.key,
            collection=info,
            config=config,
            started=started,
            on_step=told.of(text).fitting,
        )
        report = replace(
            transform.report,
            growth=lesson.growth,
            stopped=lesson.stopped,
            guide_check=lesson.check,
        )
        fitted.append(replace(transform, report=report))
        # Sampling and encoding are told once, with the first.
        started = time.perf_counter()
    return fitted


def _learn(
    collection: VectorCollection,
    guide: Guide,
    instructions: Sequence[str],
    config: FitConfig,
    started: float,
    told: Progress,
) -> list[Lesson]:
    if isinstance(guide, EncodingGuide):
        rows = sample_rows(collection, config.sample_size, seed=config.seed, ids=guide.ids())
        told.sampled(len(rows))
        order = np.random.default_rng(config.seed).permutation(len(rows))
        deadline = started + config.guide_budget
        with one_thread():
            return _grow(guide, instructions, rows.take(order), deadline, told)
    size, seed = config.sample_size, config.seed
    # Places cost time, rows at a place cost little: a reserve is read along.
    rows = sample_rows(collection, _SPARSE_FACTOR * size, seed=seed, ids=guide.ids())
    sample = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:size]))
    told.sampled(len(sample))
    lessons = []
    with one_thread() if compares_documents(guide.key) else nullcontext():
        for text in instructions:
            lessons.append(_judge(guide, text, sample, rows))
            told.of(text).judged(len(lessons[-1].vectors), len(lessons[-1].vectors))
    return lessons


def _judge(guide: Guide, instruction: str, sample: Rows, rows: Rows) -> Lesson:
    """A sample with what the guide says; with the reserve too where it says little."""
    supervision = guide.judge(instruction, sample)
    sparse = isinstance(supervision, Labels) and supervision.judged.mean() < _SPARSE
    if sparse and len(rows) > len(sample):
        return Lesson(rows.vectors, guide.judge(instruction, rows))
    check = check_guide(sample, supervision) if isinstance(supervision, Targets) else None
    return Lesson(sample.vectors, supervision, check=check)


def _grow(
    guide: EncodingGuide,
    instructions: Sequence[str],
    rows: Rows,
    deadline: float,
    told: Progress,
) -> list[Lesson]:
    """Ask about twice as many rows while the last doubling paid for any of the instructions.

    Args:
        guide: Its work grows with the rows.
        instructions: Asked in one pass over the texts.
        rows: The largest sample, in random order.
        deadline: `time.perf_counter()` after which no further rows are asked about; looked at
            within a doubling too, whose rows so far then count.
        told: Is told how many rows were judged.
    """
    found: list[Targets] = []
    growth: list[list[tuple[int, float]]] = [[] for _ in instructions]
    stopped: Stopped | None = None
    size = 0
    while stopped is None:
        wanted = min(len(rows), max(FIRST_ROWS, 2 * size))
        while size < wanted and not (found and time.perf_counter() > deadline):
            further = rows.take(np.arange(size, min(wanted, size + FIRST_ROWS)))
            new = guide.judge_grid(instructions, further)
            found = [a.joined(b) for a, b in zip(found, new, strict=True)] if found else new
            size += len(further)
            told.judged(size, len(rows))
        vectors = rows.vectors[:size]
        for curve, targets in zip(growth, found, strict=True):
            curve.append((size, round(held_out_agreement(vectors, targets), 4)))
        if size < wanted:  # a doubling that was cut short says little about agreement
            stopped = "budget"
        elif not any(map(_still_rises, growth)):
            stopped = "enough"
        elif size == len(rows):
            stopped = "size"
        elif time.perf_counter() > deadline:
            stopped = "budget"
    read = rows.take(np.arange(size))
    return [
        Lesson(read.vectors, targets, tuple(curve), stopped, check_guide(read, targets))
        for targets, curve in zip(found, growth, strict=True)
    ]


def _still_rises(curve: Sequence[tuple[int, float]]) -> bool:
    return len(curve) < 2 or curve[-1][1] - curve[-2][1] >= _WORTH_MORE_ROWS
