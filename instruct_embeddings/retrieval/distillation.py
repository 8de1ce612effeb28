"""From what a judge said under an instruction to a move of the query that needs no judge.

Each judged question has a direction in which relevance rises among its candidates. A ridge
regression of these directions on the vectors of the queries, with an intercept, tells the move of a
new query before anybody has judged anything for it. It comes on top of whatever ranks first.

A third of the judged questions is held out. What is learned from the others answers these through
the index; the judge reads what it has not read before, since what a ranking brings from elsewhere
counts as well; and both rankings are compared by the judge's grades, pooled as in TREC.
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
from instruct_embeddings.errors import InstructEmbeddingsError
from instruct_embeddings.feedback.memory import JudgedQuestion, JudgementMemory, Scope
from instruct_embeddings.feedback.regression import relevance_direction
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval.feedback import JudgeQuestion, RelevanceFeedback
from instruct_embeddings.transform.quality import ndcg_at_k, standard_error
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Chosen on dev sets by `make bench-judge`.
PENALTY = 1.0
_HELD_OUT = 3  # each so-manieth question
_MOST_HELD_OUT = 100
_DEPTH = 10
_KEPT = 256
_log = logging.getLogger(__name__)

Grade: TypeAlias = Callable[[str, Rows], Sequence[float]]
"""Grades of rows with texts for a query, by a judge; empty where it gives none."""
Find: TypeAlias = Callable[[JudgedQuestion, FloatArray], Sequence[str]]
"""The best ids for a question whose folded query is moved by something of shape (d,)."""


@dataclass(frozen=True)
class LearnedMove:
    """A move of folded queries, linear in the generic vector of the query.

    Attributes:
        mean_query: Mean of the judged queries, shape (d,).
        mean_move: Their mean move, shape (d,).
        slope: What a query's distance from the mean adds to it, shape (d, d).
    """

    mean_query: FloatArray
    mean_move: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, queries: FloatArray, moves: FloatArray) -> "LearnedMove":
        """Ridge regression of moves on queries, both of shape (n, d)."""
        mean_query, mean_move = queries.mean(axis=0), moves.mean(axis=0)
        apart = queries - mean_query
        square = apart.T @ apart + np.float32(PENALTY) * np.eye(len(mean_query), dtype=np.float32)
        slope = np.linalg.solve(square, apart.T @ (moves - mean_move))
        return cls(mean_query, mean_move, np.asarray(slope, dtype=np.float32))

    def __call__(self, query: FloatArray) -> FloatArray:
        """The move of one query, shape (d,) to (d,)."""
        moved = self.mean_move + (query - self.mean_query) @ self.slope
        return np.asarray(moved, dtype=np.float32)


@dataclass(frozen=True)
class DistillationReport:
    """What was learned from a judge, measured on judged questions that it was not learned from.

    All figures are nDCG@10 by the judge's grades of all rows that it has read for a question; an
    order by these grades has 1.

    Attributes:
        questions: Judged questions; a third of them, at most 100, is held out.
        first: Figure of the ranking without a judge.
        distilled: Figure of the same with what was learned.
        error: Standard error of `distilled - first`.
        share: What is gained, as a share of what the judge gains.
        used: Whether searches use it: it gains more than its standard error.
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
            verdict = "nothing is used of it"
        else:
            verdict = "the judge is skipped" if self.skips else "the judge is asked still"
        return (
            f"{self.questions} judged questions, nDCG@10 on held-out ones: first ranking "
            f"{self.first:.3f}, learned {self.distilled:.3f}, judge 1: {verdict}"
        )


@dataclass(frozen=True)
class Distilled:
    """What was learned from a judge, with its report."""

    move: LearnedMove
    report: DistillationReport


def distil(
    collection: VectorCollection,
    questions: Sequence[JudgedQuestion],
    *,
    find: Find,
    grade: Grade,
    skip_at: float,
) -> Distilled | None:
    """Learn an instruction from judged questions; None where there is nothing to learn.

    Args:
        collection: The collection that was searched.
        questions: In any order; rows that were deleted meanwhile are left out.
        find: Searches under the instruction.
        grade: Asks the judge about further rows.
        skip_at: Share of the judge's gain from which on it is no longer asked.
    """
    read = _read(collection, questions)
    told = [(one, move) for one in questions if (move := _move(one, read)) is not None]
    held_out = told[::_HELD_OUT][-_MOST_HELD_OUT:]
    others = [each for number, each in enumerate(told) if number % _HELD_OUT]
    if not others:
        return None
    tried = _learn(others)
    figures = [_compare(collection, tried, one, find, grade) for one, _ in held_out]
    report = _report([each for each in figures if each is not None], len(questions), skip_at)
    return Distilled(_learn(told), report)


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


def _move(question: JudgedQuestion, read: dict[str, FloatArray]) -> FloatArray | None:
    """The direction in which relevance rises for a question; None where it does not."""
    known = [place for place, row in enumerate(question.ids) if row in read]
    relevance = question.relevance[known]
    if len(known) < 2 or float(np.ptp(relevance)) == 0.0:
        return None
    documents = np.stack([read[question.ids[place]] for place in known])
    return relevance_direction(documents, relevance)


def _learn(told: Sequence[tuple[JudgedQuestion, FloatArray]]) -> LearnedMove:
    queries = np.stack([one.vector for one, _ in told])
    return LearnedMove.of(queries, np.stack([move for _, move in told]))


def _compare(
    collection: VectorCollection,
    move: LearnedMove,
    question: JudgedQuestion,
    find: Find,
    grade: Grade,
) -> tuple[float, float] | None:
    """nDCG@10 of the first ranking and of the moved query; None where nothing is relevant."""
    found = find(question, move(question.vector))
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
    used = gain > error
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
        find: Callable[[str, JudgedQuestion, FloatArray], Sequence[str]],
    ) -> None:
        """Nothing is read yet; `find` searches under an instruction."""
        self._collection, self._memory = collection, memory
        self._feedback, self._find = feedback, find
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
        scope = Scope.of(info, instruction, self._feedback.judge.key)
        if scope not in self._learned:
            self._learned.put(scope, 0)
            count = self._safely(lambda: self._memory.count(scope))
            self._learn_where_due(instruction, scope, count)
        return self._known.get(scope)

    def note(self, instruction: str, info: CollectionInfo, question: JudgedQuestion) -> None:
        """Remember a judged question, and learn where there are enough."""
        scope = Scope.of(info, instruction, self._feedback.judge.key)
        count = self._safely(lambda: self._memory.add(scope, question))
        self._learn_where_due(instruction, scope, count)

    def wait(self) -> None:
        """Return once nothing is being learned."""
        for running in list(self._running.values()):
            running.result()

    def _learn_where_due(self, instruction: str, scope: Scope, count: int) -> None:
        with self._lock:
            least = max(self._feedback.learn_at, 2 * (self._learned.get(scope) or 0))
            if count < least or scope in self._running:
                return
            self._learned.put(scope, count)
            self._running[scope] = self._pool.submit(self._learn, instruction, scope)

    def _learn(self, instruction: str, scope: Scope) -> None:
        try:
            if self._collection.info().fingerprint != scope.collection:
                return
            found = distil(
                self._collection,
                self._memory.read(scope),
                find=partial(self._find, instruction),
                grade=partial(self._grade, instruction),
                skip_at=self._feedback.skip_at,
            )
            # A judge whose scores mean nothing teaches nothing.
            used = found is not None and found.report.used and self._feedback.trust > 0
            self._known.put(scope, found if used else None)
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

    def _safely(self, use: Callable[[], int]) -> int:
        """A memory that cannot be used costs no search; it is said once."""
        try:
            return use()
        except InstructEmbeddingsError as exc:
            if not self._warned:
                self._warned = True
                _log.warning("Judgements are not remembered: %s", exc)
            return 0
