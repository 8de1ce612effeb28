"""From a collection and a guide to fitted transforms: sample, judge, fit; and in the background."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, TypeAlias

import numpy as np

from instruct_embeddings._threads import DaemonPool, Recent, make_anew_after_fork, one_thread
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig, normal_form
from instruct_embeddings.protocols import EncodingGuide, Guide, Rows, VectorCollection
from instruct_embeddings.retrieval.instructions import compares_documents
from instruct_embeddings.retrieval.prefetch import measured_prefetch
from instruct_embeddings.retrieval.sampling import sample_rows, unchanged
from instruct_embeddings.supervision import Labels, Supervision, Targets
from instruct_embeddings.transform.fit import fit_transform
from instruct_embeddings.transform.guide_check import GuideCheck, check_guide
from instruct_embeddings.transform.problems import held_out_agreement
from instruct_embeddings.transform.report import Stopped
from instruct_embeddings.transform.transform import InstructionTransform

# Where fewer of the sampled rows carry a label, several times as many are judged.
_SPARSE = 0.3
_SPARSE_FACTOR = 4
# A guide that encodes starts with so many rows, and judges as many again while it pays.
FIRST_ROWS = 250
_WORTH_MORE_ROWS = 0.01
_FITS_AT_ONCE = 4  # in the background
_KEPT = 1024
_TRY_AGAIN_AFTER = 60.0  # seconds
_log = logging.getLogger(__name__)

FitStage: TypeAlias = Literal["sampling", "judging", "fitting", "done", "failed"]


@dataclass(frozen=True)
class FitEvent:
    """One step of a fit.

    Attributes:
        instruction: The instruction that is fitted.
        stage: "sampling" when the sample is read; "judging" each time the guide has judged some of
            it; "fitting" after each penalty that was tried; at last "done" or "failed".
        done: Rows read or judged, or penalties tried.
        total: The most there may be of them: a guide that encodes stops where more rows do not pay.
        seconds: Since the fit began.
    """

    instruction: str
    stage: FitStage
    done: int
    total: int
    seconds: float


OnFit: TypeAlias = Callable[[FitEvent], None]
"""Is called in the thread that fits; what it raises ends the fit."""


@dataclass(frozen=True)
class Progress:
    """Reports how the fits of some instructions go on; they share sampling and judging."""

    instructions: Sequence[str]
    on_fit: OnFit | None = None
    started: float = field(default_factory=time.perf_counter)

    def of(self, instruction: str) -> "Progress":
        """The same for one of the instructions."""
        return Progress([instruction], self.on_fit, self.started)

    def sampled(self, rows: int) -> None:
        """A sample of so many rows was read."""
        self._report("sampling", rows, rows, "%s: %d rows sampled in %.1f s")

    def judged(self, rows: int, most: int) -> None:
        """So many of at most so many rows were judged by the guide."""
        self._report("judging", rows, most, "%s: %d rows judged after %.1f s")

    def fitting(self, tried: int, most: int) -> None:
        """So many of at most so many penalties were tried; `transform.fit` logs the settings."""
        self._report("fitting", tried, most)

    def ended(self, *, well: bool) -> None:
        """The fit is over."""
        self._report("done" if well else "failed", int(well), 1)

    def _report(self, stage: FitStage, done: int, total: int, line: str | None = None) -> None:
        seconds = time.perf_counter() - self.started
        if line is not None:
            _log.info(line, "; ".join(self.instructions), done, seconds)
        if self.on_fit is not None:
            for text in self.instructions:
                self.on_fit(FitEvent(text, stage, done, total, seconds))


@dataclass(frozen=True)
class JudgedSample:
    """What a transform is fitted on: vectors of shape (n, d), and what the guide said of them.

    `growth` and `stopped` are those of the report, where the guide encodes.
    """

    vectors: FloatArray
    supervision: Supervision
    growth: tuple[tuple[int, float], ...] = ()
    stopped: Stopped | None = None
    check: GuideCheck | None = None


class _Turns:
    """Lets half of the cores compute fits; more of them would keep searches from Python.

    Waiting for a language model or an encoder is no computing.
    """

    def __init__(self) -> None:
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Free again in a forked process."""
        self._free = threading.Semaphore(max(1, (os.cpu_count() or 1) // 2))

    def __enter__(self) -> None:
        self._free.acquire()

    def __exit__(self, *_: object) -> None:
        self._free.release()


_turns = _Turns()


def fit_all(
    collection: VectorCollection,
    guide: Guide,
    instructions: Sequence[str],
    config: FitConfig,
    progress: Progress | None = None,
) -> list[InstructionTransform]:
    """Fit the transforms of some instructions on one sample."""
    started = time.perf_counter()
    progress = progress or Progress(instructions)
    with unchanged(collection) as info:
        if isinstance(guide, EncodingGuide):
            samples = _judge_growing(collection, guide, instructions, config, started, progress)
        else:
            samples = _judge_all(collection, guide, instructions, config, progress)
    fitted = []
    for text, sample in zip(instructions, samples, strict=True):
        with _turns:
            transform = fit_transform(
                sample.vectors,
                sample.supervision,
                instruction=text,
                guide=guide.key,
                collection=info,
                config=config,
                started=started,
                on_step=progress.of(text).fitting,
            )
        report = replace(
            transform.report,
            growth=sample.growth,
            stopped=sample.stopped,
            guide_check=sample.check,
        )
        needed = measured_prefetch(transform, collection, sample.vectors, config.recall)
        fitted.append(replace(transform, report=report, prefetch=needed))
        # Sampling and encoding count once, with the first.
        started = time.perf_counter()
    return fitted


def _judge_all(
    collection: VectorCollection,
    guide: Guide,
    instructions: Sequence[str],
    config: FitConfig,
    progress: Progress,
) -> list[JudgedSample]:
    read = partial(sample_rows, collection, seed=config.seed, ids=guide.ids())
    sample = read(config.sample_size)
    reserve = cache(lambda: read(_SPARSE_FACTOR * config.sample_size))
    progress.sampled(len(sample))
    samples = []
    with one_thread() if compares_documents(guide.key) else nullcontext():
        for text in instructions:
            samples.append(_judge(guide, text, sample, reserve))
            count = len(samples[-1].vectors)
            progress.of(text).judged(count, count)
    return samples


def _judge(
    guide: Guide, instruction: str, sample: Rows, reserve: Callable[[], Rows]
) -> JudgedSample:
    """A sample with what the guide says; of a larger one where it says little."""
    supervision = guide.judge(instruction, sample)
    sparse = isinstance(supervision, Labels) and supervision.judged.mean() < _SPARSE
    if sparse and len(rows := reserve()) > len(sample):
        return JudgedSample(rows.vectors, guide.judge(instruction, rows))
    check = check_guide(sample, supervision) if isinstance(supervision, Targets) else None
    return JudgedSample(sample.vectors, supervision, check=check)


def _judge_growing(
    collection: VectorCollection,
    guide: EncodingGuide,
    instructions: Sequence[str],
    config: FitConfig,
    started: float,
    progress: Progress,
) -> list[JudgedSample]:
    rows = sample_rows(collection, config.sample_size, seed=config.seed, ids=guide.ids())
    progress.sampled(len(rows))
    order = np.random.default_rng(config.seed).permutation(len(rows))
    with one_thread():
        deadline = started + config.guide_budget
        return _grow(guide, instructions, rows.take(order), deadline, progress)


def _grow(
    guide: EncodingGuide,
    instructions: Sequence[str],
    rows: Rows,
    deadline: float,
    progress: Progress,
) -> list[JudgedSample]:
    """Judge about twice as many rows while the last doubling paid for any of the instructions.

    After the deadline no further rows are judged; within a doubling, its rows so far count.
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
            progress.judged(size, len(rows))
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
        JudgedSample(read.vectors, targets, tuple(curve), stopped, check_guide(read, targets))
        for targets, curve in zip(found, growth, strict=True)
    ]


def _still_rises(curve: Sequence[tuple[int, float]]) -> bool:
    return len(curve) < 2 or curve[-1][1] - curve[-2][1] >= _WORTH_MORE_ROWS


class BackgroundFits:
    """Fits instructions in threads of its own; coroutines wait without a thread for each.

    The pool of an event loop has few threads. If each coroutine with a new instruction waited in
    one of them, those with known instructions would wait for the fit as well. What need not be
    fitted is looked up in another thread, where no fit is in its way.

    No process waits at its end for a fit that nobody waits for any more, and a forked process does
    not wait for the fits of the one it comes from.
    """

    def __init__(self, fit: Callable[[str], object], find: Callable[[str], object]) -> None:
        """Nothing runs yet; `find` gives something true where nothing has to be fitted."""
        self._fit = fit
        self._find = find
        self._ready: Recent[str, bool] = Recent(_KEPT)
        self._failed: Recent[str, float] = Recent(_KEPT)
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget what runs; what is ready stays."""
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._looking = DaemonPool(1, "instruct-find")
        self._fitting = DaemonPool(_FITS_AT_ONCE, "instruct-fit")

    async def wait(self, instructions: Iterable[str]) -> None:
        """Return once all instructions are fitted, or raise what a fit raised.

        A coroutine that is cancelled leaves the fit to the others.
        """
        forms = {normal_form(text): text for text in instructions}
        new = [self._join(form, text) for form, text in forms.items() if form not in self._ready]
        for fitted in new:
            await asyncio.shield(_awaitable(fitted))

    def start(self, instruction: str) -> None:
        """Fit an instruction, unless that is under way or has failed within the last minute."""
        form = normal_form(instruction)
        failed = self._failed.get(form)
        lately = failed is not None and time.monotonic() - failed < _TRY_AGAIN_AFTER
        if not lately and form not in self._running:
            self._join(form, instruction).add_done_callback(partial(self._note, form))

    def _note(self, form: str, done: "Future[None]") -> None:
        if problem := done.exception():
            self._failed.put(form, time.monotonic())
            _log.warning("An instruction could not be fitted in the background: %s", problem)

    def _join(self, form: str, instruction: str) -> "Future[None]":
        with self._lock:
            running = self._running.get(form)
            if running is not None:
                return running
            running = self._running[form] = Future()
            running.set_running_or_notify_cancel()  # nobody can cancel it for the others
        looked = self._looking.submit(copy_context().run, self._look_up, form, instruction)
        looked.add_done_callback(partial(self._looked, form))
        return running

    def _look_up(self, form: str, instruction: str) -> bool:
        """Whether it is ready; otherwise a fit has begun."""
        if self._find(instruction):
            return True
        fitted = self._fitting.submit(copy_context().run, self._fit, instruction)
        fitted.add_done_callback(partial(self._end, form))
        return False

    def _looked(self, form: str, looked: "Future[bool]") -> None:
        if looked.exception() is not None or looked.result():
            self._end(form, looked)

    def _end(self, form: str, done: "Future[Any]") -> None:
        problem = done.exception()
        with self._lock:
            running = self._running.pop(form)
            if problem is None:
                self._ready.put(form, True)
        if problem is None:
            running.set_result(None)
        else:
            running.set_exception(problem)


def _awaitable(fitted: "Future[None]") -> "asyncio.Future[None]":
    found = asyncio.wrap_future(fitted)
    # Looked at here, since nobody may be left to do it: asyncio would log an error as forgotten.
    found.add_done_callback(lambda done: done.cancelled() or done.exception())
    return found
