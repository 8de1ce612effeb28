"""A judge in the loop: what it is asked, for how long, how often, and how far it is trusted.

Reordering what was found cannot find what was missed. So the scores of the judge move the query
(`judged_search`), and the index is asked again. A judge that fails in any way leaves the first
ranking standing; one whose scores have nothing to do with the candidates loses its influence.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instruct_embeddings._reading import is_number
from instruct_embeddings._threads import DaemonPool, make_anew_after_fork
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import at_least, seconds
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback.judges import as_judge, wrapper_of
from instruct_embeddings.feedback.memory import JudgementMemory
from instruct_embeddings.feedback.regression import to_relevance
from instruct_embeddings.protocols import Capabilities
from instruct_embeddings.retrieval.judging import ask_watched

LEAST_CANDIDATES = 3
# A judge is trusted at first, as if it had judged so many questions this well.
_PRIOR_QUESTIONS, _PRIOR_SKILL = 2, 0.4
# Mean of `learnable` at which a judge is not listened to, and at which fully. One who knows the
# answers reaches 0.3 to 1, one who is wrong in a tenth of the cases 0.3, in three tenths 0.1.
_NO_SKILL, _FULL_SKILL = 0.03, 0.4
_FORGET = 0.99
_JUDGES_AT_ONCE = 8
_SHOWN = 200
_log = logging.getLogger(__name__)


def check_feedback(feedback: object, capabilities: Capabilities) -> "RelevanceFeedback | None":
    """Feedback as it is, or None.

    Raises:
        ConfigError: A judge is not wrapped, or the vectors of the collection cannot be read.
    """
    if feedback is None:
        return None
    if not capabilities.vectors:
        raise ConfigError(
            f"feedback={feedback!r:.60} cannot be used: this store does not give vectors back. A "
            "judge moves the query by the vectors of what it has read. Leave it out; or pass a "
            "collection whose vectors can be read, such as StoreVectors(store, rescore=True)."
        )
    if isinstance(feedback, RelevanceFeedback):
        return feedback
    wrapper = wrapper_of(feedback)
    judge = "judge" if wrapper is None else f"{wrapper}({type(feedback).__name__}(...))"
    raise ConfigError(
        f"feedback={feedback!r:.60} is no RelevanceFeedback. Wrap the judge: "
        f"feedback=RelevanceFeedback({judge})."
    )


@dataclass(frozen=True)
class JudgeCounts:
    """What became of the questions to a judge.

    Attributes:
        asked: Calls of the judge.
        refined: Answers that were used.
        failed: Calls that raised, or answered something else than one score a text.
        timed_out: Calls that took too long.
        refused: Questions that were not asked, as a cap was reached.
        texts: Texts that were given to the judge.
        skill: How far its scores follow from where candidates lie; about 0 for one who guesses.
        trust: The influence that its scores have, from 0 to 1.
    """

    asked: int = 0
    refined: int = 0
    failed: int = 0
    timed_out: int = 0
    refused: int = 0
    texts: int = 0
    skill: float = _PRIOR_SKILL
    trust: float = 1.0


@dataclass(frozen=True)
class JudgeQuestion:
    """What a judge is asked: a query, its instruction, and the texts of candidates by their ids."""

    query: str
    instruction: str | None
    ids: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What a judge said, shape (n,), NaN where it judged nothing; or why there is no answer."""

    relevance: FloatArray | None
    problem: str | None = None


class RelevanceFeedback:
    """A judge that the query vector learns from, and how far it is asked.

    One object counts calls and skill for all retrievers that share it.

    Instantiate:
        ```python
        feedback = RelevanceFeedback(CrossEncoder("BAAI/bge-reranker-v2-m3"))
        feedback = RelevanceFeedback(ChatJudge(model), candidates=10, timeout=20.0, max_calls=1000)
        ```

    Usage:
        ```python
        retriever = InstructionTransformRetriever(vectorstore=chroma, feedback=feedback)
        retriever.invoke("it ate my photos", instruction="Find the fix.")
        retriever.invoke("it ate my photos", judge=False)  # once without
        print(feedback.counts)
        ```
    """

    def __init__(
        self,
        judge: object,
        *,
        candidates: int = 20,
        rounds: int = 1,
        timeout: float | None = 10.0,
        max_calls: int | None = None,
        max_characters: int = 100_000,
        memory: JudgementMemory | str | Path | None = None,
        learn_at: int = 20,
        skip_at: float = 0.9,
    ) -> None:
        """Nothing is asked yet.

        Args:
            judge: Anything that `as_judge` takes.
            candidates: Texts that the judge reads in each round.
            rounds: How often the judge reads; a further round reads candidates that are new.
            timeout: Seconds for an answer, after which the ranking without it stands; None waits.
            max_calls: Most calls in this process; further questions are answered without a judge.
            max_characters: Most characters of one call: candidates beyond are not read.
            memory: Where judged questions are kept, or the folder for them. From enough of them a
                move of the query is learned for each instruction, in the background.
            learn_at: Questions that are enough; it learns again each time they have doubled.
            skip_at: Share of what the judge gains, measured on held-out questions, from which on
                what was learned answers without the judge.

        Raises:
            ConfigError: An argument is out of its range, or the judge cannot judge.
        """
        self.judge = as_judge(judge)
        self.candidates = at_least("candidates", candidates, LEAST_CANDIDATES, optional=False)
        self.rounds = at_least("rounds", rounds, 1, optional=False)
        if timeout is not None:
            seconds("timeout", timeout)
        self.timeout = timeout
        self.max_calls = at_least("max_calls", max_calls, 0)
        self.max_characters = at_least("max_characters", max_characters, 1, optional=False)
        self.memory = _open_memory(memory)
        self.learn_at = at_least("learn_at", learn_at, 4, optional=False)
        self.skip_at = _share("skip_at", skip_at)
        self._counts = JudgeCounts()
        self._weighed = (_PRIOR_QUESTIONS * _PRIOR_SKILL, float(_PRIOR_QUESTIONS))
        self._told: set[str] = set()
        self._pool = DaemonPool(_JUDGES_AT_ONCE, "instruct-judge")
        self.make_anew()
        make_anew_after_fork(self)

    def __repr__(self) -> str:
        """The judge and how much it reads."""
        return (
            f"RelevanceFeedback({self.judge!r}, candidates={self.candidates}, rounds={self.rounds})"
        )

    def make_anew(self) -> None:
        """A lock of this process."""
        self._lock = threading.Lock()

    @property
    def counts(self) -> JudgeCounts:
        """What became of the questions so far."""
        with self._lock:
            return self._counts

    @property
    def trust(self) -> float:
        """The influence of the judge's scores, from 0 to 1."""
        return self.counts.trust

    def ask(self, question: JudgeQuestion) -> Verdict:
        """What the judge says within the time; it never raises an error of the judge."""
        asked = self._submit(question)
        if isinstance(asked, Verdict):
            return asked
        try:
            return self._read(asked.result(self.timeout))
        except FutureTimeout:
            return self._late(asked)
        except Exception as exc:
            return self._problem("failed", exc)

    async def aask(self, question: JudgeQuestion) -> Verdict:
        """The same without blocking the event loop or a thread of its pool."""
        asked = self._submit(question)
        if isinstance(asked, Verdict):
            return asked
        try:
            found = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), self.timeout)
            return self._read(found)
        except (asyncio.TimeoutError, FutureTimeout):
            return self._late(asked)
        except Exception as exc:
            return self._problem("failed", exc)

    def weigh(self, skill: float | None) -> None:
        """Take one more measurement of the judge's skill into account; None says nothing."""
        if skill is None:
            return
        with self._lock:
            total, count = (_FORGET * each for each in self._weighed)
            self._weighed = total + skill, count + 1
            mean = self._weighed[0] / self._weighed[1]
            trust = float(np.clip((mean - _NO_SKILL) / (_FULL_SKILL - _NO_SKILL), 0.0, 1.0))
            self._counts = replace(self._counts, skill=mean, trust=trust)
        if trust == 0.0:
            self._say_once(
                "no skill",
                f"Scores of {self.judge.key} have nothing to do with where candidates lie; they no "
                "longer change rankings. Look at what it answers.",
            )

    def _submit(self, question: JudgeQuestion) -> "Future[Sequence[float | None]] | Verdict":
        with self._lock:
            if self.max_calls is not None and self._counts.asked >= self.max_calls:
                self._counts = replace(self._counts, refused=self._counts.refused + 1)
                return Verdict(None, f"max_calls={self.max_calls} is reached")
            self._counts = replace(
                self._counts,
                asked=self._counts.asked + 1,
                texts=self._counts.texts + len(question.texts),
            )
        # Tracing of the hosts goes by context variables, which threads do not inherit.
        ask = partial(self._ask, question)
        return self._pool.submit(copy_context().run, ask_watched, question, ask)

    def _ask(self, question: JudgeQuestion) -> Sequence[float | None]:
        scores = self.judge.relevance(question.query, question.instruction, list(question.texts))
        return _checked(scores, len(question.texts))

    def _read(self, scores: Sequence[float | None]) -> Verdict:
        self._count("refined")
        return Verdict(_relevance(scores))

    def _late(self, asked: "Future[Any]") -> Verdict:
        asked.cancel()  # where no thread has begun with it
        return self._problem("timed_out", f"no answer within {self.timeout:g} seconds")

    def _problem(self, kind: str, problem: object) -> Verdict:
        self._count(kind)
        plain = isinstance(problem, str | _NoScores)
        said = str(problem) if plain else f"{type(problem).__name__}: {problem}"
        self._say_once(kind, f"The judge {self.judge.key} did not answer: {said:.{_SHOWN}}")
        return Verdict(None, f"{said:.{_SHOWN}}")

    def _count(self, kind: str) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{kind: getattr(self._counts, kind) + 1})

    def _say_once(self, kind: str, message: str) -> None:
        with self._lock:
            known = kind in self._told
            self._told.add(kind)
        if not known:
            _log.warning("%s (said once; see the counts of RelevanceFeedback)", message)


def _open_memory(memory: object) -> JudgementMemory | None:
    if memory is None or isinstance(memory, JudgementMemory):
        return memory
    if isinstance(memory, str | Path):
        return JudgementMemory(memory)
    raise ConfigError(
        f'memory={memory!r:.60} is no JudgementMemory. Name a folder for it: memory="judgements".'
    )


def _share(name: str, value: object) -> float:
    if not is_number(value) or not 0.0 < float(value) <= 1.0:
        raise ConfigError(f"{name} must be a number in (0, 1], got {value!r:.60}.")
    return float(value)


class _NoScores(ValueError):
    """A judge answered something else than one score a text."""


def _checked(scores: object, count: int) -> Sequence[float | None]:
    """The scores as they are; what is wrong with them is a `_NoScores`."""
    if hasattr(scores, "tolist"):
        scores = scores.tolist()
    if not isinstance(scores, Sequence) or isinstance(scores, str | bytes):
        raise _NoScores(f"the answer is of type {type(scores).__name__}, not one score a text")
    if len(scores) != count:
        raise _NoScores(f"{len(scores)} scores for {count} texts")
    for score in scores:
        if score is not None and not is_number(score):
            raise _NoScores(f"the score {score!r:.40} is not a finite number")
    return scores


def _relevance(scores: Sequence[float | None]) -> FloatArray:
    """Relevance in [0, 1], shape (n,), NaN where not judged."""
    given = np.array([np.nan if score is None else float(score) for score in scores])
    known = ~np.isnan(given)
    found = np.full(len(scores), np.nan, dtype=np.float32)
    found[known] = to_relevance(given[known])
    return found
