"""Ask a model many things: at once, again where it fails, once only, within a budget."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from instruct_embeddings._threads import DaemonPool
from instruct_embeddings.config import at_least, seconds
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.asking.answer import Answer
from instruct_embeddings.guides.asking.budget import Budget
from instruct_embeddings.guides.asking.cache import AnswerCache, answer_key
from instruct_embeddings.guides.asking.calling import Caller, Sleep, Stopped
from instruct_embeddings.guides.asking.cost import REPLY_TOKENS, Cost, estimate
from instruct_embeddings.guides.asking.models import AskedModel, Prompt, TextModel, as_model
from instruct_embeddings.guides.asking.work import Work

T = TypeVar("T")

# Prompts that wait for a thread, beside each that is asked.
_AHEAD = 2


class Asker:
    """Asks a model, through all that goes wrong between here and there.

    - Prompts are asked concurrently, each different prompt once.
    - What may pass (rate limits, trouble of the server, lost connections) is tried again, after a
      growing pause or after the pause that the server asks for. Clients that retry by themselves,
      as LangChain's and LlamaIndex's do, do so within each of these tries.
    - A reply that `parse` refuses is sent back once for repair.
    - Replies that were parsed are kept in the cache the moment they arrive: whatever ends a run,
      the next one asks only for what is missing. Unreadable ones are asked again.
    """

    def __init__(
        self,
        model: "AskedModel | TextModel | object",
        *,
        cache: Path | str | None = None,
        concurrency: int = 4,
        retries: int = 4,
        timeout: float | None = None,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        """Nothing is asked and nothing is written yet.

        Args:
            model: Anything that `as_model` takes.
            cache: Folder for replies, on a local disk; may be shared by threads and processes.
                None keeps nothing.
            concurrency: Most calls at the same time. 1 for a model that is not safe for threads.
            retries: Further tries of a call that failed.
            timeout: Seconds after which a call counts as failed. The call cannot be ended and may
                be charged: the timeout of the model's own client is better, where it has one.
            max_calls: Most calls over the life of this asker. Calls that the server answered with
                an error are not counted. 0 answers from the cache only.
            max_tokens: Most tokens, of prompts and replies together, estimated.
            on_progress: Called with the numbers of prompts done and of all.
            sleep: Waits some seconds before a further try; for tests.

        Raises:
            ConfigError: An argument is out of its range, or the model is none.
        """
        at_least("concurrency", concurrency, 1, optional=False)
        at_least("retries", retries, 0, optional=False)
        if timeout is not None:
            seconds("timeout", timeout, 60)
        self._model = as_model(model)
        self._cache = None if cache is None else AnswerCache(cache)
        self._concurrency = concurrency
        self._budget = Budget(max_calls, max_tokens)
        self._caller = Caller(self._model, self._budget, retries=retries, timeout=timeout)
        self._on_progress = on_progress
        self._sleep = sleep

    def __repr__(self) -> str:
        """The model's name and the cache."""
        return f"Asker({self._model.name!r}, cache={self._cache!r})"

    @property
    def model(self) -> AskedModel:
        """The model under its name."""
        return self._model

    @property
    def spent(self) -> Cost:
        """What was spent so far, in estimated tokens; the caps limit it."""
        return self._budget.spent

    def ask_all(
        self,
        prompts: Sequence[Prompt],
        parse: Callable[[str], T],
        *,
        output_tokens: int = REPLY_TOKENS,
    ) -> list[Answer[T]]:
        """Ask every prompt.

        Args:
            prompts: What to ask. Equal prompts are asked once.
            parse: Reads a reply; raises ValueError where it cannot, with a message that tells the
                model what is wrong. Called from several threads.
            output_tokens: Expected length of a reply, for the estimate.

        Returns:
            One answer a prompt, in their order.

        Raises:
            GuideError: The estimate of what is not in the cache exceeds a cap, a cap was reached,
                the model cannot be asked (wrong key, unknown name, not reachable) or answered no
                prompt at all, or the cache cannot be used. What was answered is in the cache.
        """
        keys = [answer_key(self._model.name, prompt) for prompt in prompts]
        work = Work(self._caller, self._cache, parse, output_tokens)
        answers = work.known(list(dict.fromkeys(keys)))
        missing = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in answers
        }
        self._budget.check(estimate(missing.values(), output_tokens=output_tokens))
        self._caller.answered |= bool(answers)
        progress = _Progress(self._on_progress, keys)
        progress.done(*answers)

        def arrived(key: str, answer: Answer[T]) -> None:
            answers[key] = answer
            progress.done(key)

        if missing:
            if self._cache is not None:
                self._cache.prepare()
            self._ask(missing, work, arrived)
        # A model that answered before may decline all of a small step.
        if not self._caller.answered:
            _raise_if_none(self._model.name, answers)
        return _in_order(keys, answers)

    def _ask(
        self, prompts: dict[str, Prompt], work: Work[T], arrived: Callable[[str, Answer[T]], None]
    ) -> None:
        stop = threading.Event()
        sleep = self._sleep or stop.wait
        pool = DaemonPool(self._concurrency, "asking")
        jobs: dict[Future[Answer[T]], str] = {}

        def collect(least: int) -> None:
            while len(jobs) > least:
                for job in wait(jobs, return_when=FIRST_COMPLETED).done:
                    # What stopped it is the error of another job.
                    with contextlib.suppress(Stopped):
                        arrived(jobs.pop(job), job.result())

        try:
            for key, prompt in prompts.items():
                # Tracing of the hosts goes by context variables, which threads do not inherit.
                run = copy_context().run
                jobs[pool.submit(run, work.answer, key, prompt, stop, sleep)] = key
                # No further ahead: an error ends the asking after few more calls.
                collect(_AHEAD * self._concurrency)
            collect(0)
        except BaseException as exc:
            stop.set()
            pool.cancel()
            # Calls on their way are paid for: their replies are waited for and kept. Ctrl-C does
            # not wait, and their threads keep what still arrives while the process lives.
            if isinstance(exc, Exception):
                wait(jobs)
            raise


class _Progress:
    """Counts prompts, equal ones included."""

    def __init__(self, report: Callable[[int, int], None] | None, keys: Sequence[str]) -> None:
        self._report = report
        self._sizes = Counter(keys)
        self._total = len(keys)
        self._done = 0

    def done(self, *keys: str) -> None:
        self._done += sum(self._sizes[key] for key in keys)
        if self._report is not None and keys:
            self._report(self._done, self._total)


def _raise_if_none(model: str, answers: dict[str, Answer[T]]) -> None:
    if answers and all(answer.refused for answer in answers.values()):
        problem = next(iter(answers.values())).problem
        raise GuideError(
            f"The model {model} answered none of {len(answers):,} prompts; of the first it said: "
            f"{problem}. Try it on one prompt by hand."
        )


def _in_order(keys: Sequence[str], answers: dict[str, Answer[T]]) -> list[Answer[T]]:
    """Answers by position; only the first of equal prompts made calls."""
    seen: set[str] = set()
    found = []
    for key in keys:
        answer = answers[key]
        again = replace(answer, calls=0, cached=answer.problem is None)
        found.append(again if key in seen else answer)
        seen.add(key)
    return found
