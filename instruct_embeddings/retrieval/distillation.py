"""From what a judge said under an instruction to a transform that needs no judge.

A quarter of the judged questions is held out. The transform that is learned from the others answers
these through the index; the judge reads what it has not read before, since what a ranking brings
from elsewhere counts as well; and both rankings are compared by the judge's grades, pooled as in
TREC. The transform serves where it gains more than chance, and the judge is no longer asked where
it gains nearly as much.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from instruct_embeddings._printable import printed
from instruct_embeddings._threads import DaemonPool, Recent, make_anew_after_fork
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import InstructEmbeddingsError
from instruct_embeddings.feedback.memory import JudgedQuestion, JudgementMemory, Scope
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval.feedback import JudgeQuestion, RelevanceFeedback
from instruct_embeddings.retrieval.ranking import (
    FoldedQuery,
    SearchRequest,
    WeightedRanker,
    rank_by_index,
)
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.fit import fit_transform
from instruct_embeddings.transform.judgements import refine
from instruct_embeddings.transform.quality import exceeds_chance, ndcg_at_k, standard_error
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import has_direction, unit_rows

_HELD_OUT = 4  # each so-manieth question
_MOST_HELD_OUT = 25
_SAMPLED = 2000
_DEPTH = 10
_KEPT = 256
_RELEVANT = 0.5
_log = logging.getLogger(__name__)


Grade: TypeAlias = Callable[[str, Rows], Sequence[float]]
"""Grades of rows with texts for a query, by a judge; empty where it gives none."""


@dataclass(frozen=True)
class DistillationReport:
    """What a transform learned from a judge, on judged questions that it has not seen.

    All figures are nDCG@10 by the judge's grades of all rows that it has read for a question; an
    order by these grades has 1.

    Attributes:
        questions: Judged questions; a quarter of them, at most 25, is held out.
        first: Figure of the ranking without a judge.
        distilled: Figure of the transform.
        error: Standard error of `distilled - first`.
        share: What the transform gains, as a share of what the judge gains.
        used: Whether the transform answers: it gains more than chance would.
        skips: Whether the judge is no longer asked.
    """

    questions: int
    first: float
    distilled: float
    error: float
    share: float
    used: bool
    skips: bool

    @printed
    def __str__(self) -> str:
        """One line."""
        if not self.used:
            verdict = "the judge goes on alone"
        else:
            verdict = "the judge is skipped" if self.skips else "the judge is asked still"
        return (
            f"{self.questions} judged questions, nDCG@10 on held-out ones: first ranking "
            f"{self.first:.3f}, learned {self.distilled:.3f}, judge 1: {verdict}"
        )


@dataclass(frozen=True)
class Distilled:
    """A transform that was learned from a judge, with its report."""

    transform: InstructionTransform
    report: DistillationReport


def distil(
    collection: VectorCollection,
    instruction: str,
    questions: Sequence[JudgedQuestion],
    *,
    grade: Grade,
    judge: str,
    skip_at: float,
    config: FitConfig,
    start: InstructionTransform | None = None,
) -> Distilled | None:
    """Learn an instruction from judged questions; None where there is nothing to learn.

    Args:
        collection: The collection that was searched.
        instruction: The instruction.
        questions: In any order; rows that were deleted meanwhile are left out.
        grade: Asks the judge about further rows.
        judge: Key of the judge, by which the guide of the transform is named.
        skip_at: Share of the judge's gain from which on it is no longer asked.
        config: How the transform is fitted.
        start: A transform to correct; None learns from the judgements alone.
    """
    info = collection.info()
    read = _read(collection, questions)
    held_out = [one for number, one in enumerate(questions) if number % _HELD_OUT == 0]
    others = [one for number, one in enumerate(questions) if number % _HELD_OUT]

    def learn(some: Sequence[JudgedQuestion]) -> InstructionTransform | None:
        pairs = _pairs(some, read)
        if pairs is None:
            return None
        key = f"judge:{judge}"
        if start is not None:
            return refine(start, pairs, guide=key)
        sample = np.stack(list(read.values())[:_SAMPLED])
        return fit_transform(
            sample, pairs, instruction=instruction, guide=key, collection=info, config=config
        )

    tried = learn(others)
    if tried is None:
        return None
    figures = [_compare(collection, tried, one, grade) for one in held_out[-_MOST_HELD_OUT:]]
    report = _report([each for each in figures if each is not None], len(questions), skip_at)
    final = learn(questions) if report.used else tried
    return Distilled(final or tried, report)


def _read(
    collection: VectorCollection, questions: Sequence[JudgedQuestion]
) -> dict[str, FloatArray]:
    """Unit vectors of the rows that were judged, by id, as far as they still exist."""
    ids = list(dict.fromkeys(row for one in questions for row in one.ids))
    rows = collection.fetch(ids, vectors=True)
    if not len(rows):
        return {}
    rows = rows.take(np.flatnonzero(has_direction(rows.vectors)))
    return dict(zip(rows.ids, unit_rows(rows.vectors), strict=True))


def _pairs(questions: Sequence[JudgedQuestion], read: dict[str, FloatArray]) -> Pairs | None:
    """Judged pairs of vectors; None where all, or none, are relevant."""
    known = [
        (one.vector, read[row], score >= _RELEVANT)
        for one in questions
        for row, score in zip(one.ids, one.relevance.tolist(), strict=True)
        if row in read
    ]
    if len({relevant for _, _, relevant in known}) < 2:
        return None
    queries, documents, relevant = zip(*known, strict=True)
    return Pairs(np.stack(queries), np.stack(documents), np.array(relevant, dtype=np.bool_))


def _compare(
    collection: VectorCollection,
    transform: InstructionTransform,
    question: JudgedQuestion,
    grade: Grade,
) -> tuple[float, float] | None:
    """nDCG@10 of the first ranking and of a transform; None where nothing is relevant."""
    query = FoldedQuery([WeightedRanker(transform, "fitted")], question.vector[None])
    found = rank_by_index(collection, query, SearchRequest(_DEPTH)).ids
    grades = dict(zip(question.ids, question.relevance.tolist(), strict=True))
    unread = [row for row in found if row not in grades]
    if unread:
        rows = collection.fetch(unread, records=True)
        grades |= dict(zip(rows.ids, grade(question.query, rows), strict=False))
    relevant = {row: value for row, value in grades.items() if value > 0}
    if not relevant:
        return None
    first, learned = (ndcg_at_k(ids, relevant, _DEPTH) for ids in (question.ids, found))
    return first, learned


def _report(
    figures: Sequence[tuple[float, float]], questions: int, skip_at: float
) -> DistillationReport:
    if not figures:
        return DistillationReport(questions, 0.0, 0.0, 0.0, 0.0, used=False, skips=False)
    first, learned = np.array(figures, dtype=np.float32).T
    gain, missed = float((learned - first).mean()), 1.0 - float(first.mean())
    share = gain / missed if missed > 0 else 0.0
    error = standard_error(learned - first)
    used = exceeds_chance(gain, error)
    return DistillationReport(
        questions=questions,
        first=float(first.mean()),
        distilled=float(learned.mean()),
        error=error,
        share=share,
        used=used,
        skips=used and share >= skip_at,
    )


class Distiller:
    """Keeps what judges said, and learns from it in the background, each time it has doubled."""

    def __init__(
        self,
        collection: VectorCollection,
        memory: JudgementMemory,
        feedback: RelevanceFeedback,
        config: FitConfig,
        start: Callable[[str, CollectionInfo], InstructionTransform | None],
    ) -> None:
        """Nothing is read yet; `start` gives the transform of an instruction to correct."""
        self._collection, self._memory, self._start = collection, memory, start
        self._judge, self._learn_at = feedback.judge.key, feedback.learn_at
        self._feedback = feedback
        self._distil = partial(distil, judge=self._judge, skip_at=feedback.skip_at, config=config)
        self._known: Recent[Scope, Distilled | None] = Recent(_KEPT)
        self._learned: Recent[Scope, int] = Recent(_KEPT)
        self._warned = False
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget what runs; what is known stays."""
        self._lock = threading.Lock()
        self._running: dict[Scope, Future[None]] = {}
        self._pool = DaemonPool(1, "instruct-distil")

    def find(self, instruction: str, info: CollectionInfo) -> Distilled | None:
        """What was learned of an instruction; the first call looks what is remembered of it."""
        scope = Scope.of(info, instruction, self._judge)
        if scope not in self._learned:
            count = self._safely(lambda: self._memory.count(scope))
            self._learned.put(scope, 0)
            self._learn_where_due(instruction, scope, count or 0)
        return self._known.get(scope)

    def note(self, instruction: str, info: CollectionInfo, question: JudgedQuestion) -> None:
        """Remember a judged question, and learn where there are enough."""
        scope = Scope.of(info, instruction, self._judge)
        count = self._safely(lambda: self._memory.add(scope, question))
        self._learn_where_due(instruction, scope, count or 0)

    def wait(self, timeout: float | None = None) -> None:
        """Return once nothing is being learned."""
        for running in list(self._running.values()):
            running.result(timeout)

    def _learn_where_due(self, instruction: str, scope: Scope, count: int) -> None:
        with self._lock:
            due = count >= max(self._learn_at, 2 * (self._learned.get(scope) or 0))
            if not due or scope in self._running:
                return
            self._learned.put(scope, count)
            self._running[scope] = self._pool.submit(self._learn, instruction, scope)

    def _learn(self, instruction: str, scope: Scope) -> None:
        try:
            info = self._collection.info()
            questions = self._memory.read(scope)
            same = info.fingerprint == scope.collection
            found = (
                self._distil(
                    self._collection,
                    instruction,
                    questions,
                    grade=partial(self._grade, instruction),
                    start=self._start(instruction, info),
                )
                if same and questions
                else None
            )
            self._known.put(scope, found if found is not None and found.report.used else None)
            if found is not None:
                _log.info("%r: %s", instruction, found.report)
        except Exception as exc:  # in the background: no search may suffer
            _log.warning("Nothing was learned from the judge under %r: %s", instruction, exc)
        finally:
            with self._lock:
                self._running.pop(scope, None)

    def _grade(self, instruction: str, query: str, rows: Rows) -> Sequence[float]:
        texts = tuple(text or "" for text in rows.read_texts)
        verdict = self._feedback.ask(JudgeQuestion(query, instruction, rows.ids, texts))
        return [] if verdict.relevance is None else np.nan_to_num(verdict.relevance).tolist()

    def _safely(self, use: Callable[[], int]) -> int | None:
        """A memory that cannot be used costs no search; it is said once."""
        try:
            return use()
        except InstructEmbeddingsError as exc:
            if not self._warned:
                self._warned = True
                _log.warning("Judgements are not remembered: %s", exc)
            return None
