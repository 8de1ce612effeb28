"""Prompts to a chat model: in parallel, each once, with one round of repair, within a budget."""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from instruct_embeddings._threads import DaemonPool
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.cache import MAX_REPLY_BYTES, AnswerCache, answer_key
from instruct_embeddings.guides.chat.costs import REPLY_TOKENS, Budget, estimate
from instruct_embeddings.guides.chat.models import Prompt, as_model
from instruct_embeddings.guides.chat.replies import ReplyError, without_thoughts
from instruct_embeddings.guides.chat.retrying import Caller, Stopped

T = TypeVar("T")

_MOST_QUOTED_CHARACTERS = 4000


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The outcome of one prompt."""

    value: T | None  # the parsed reply
    raw: str  # the last reply as the model gave it, empty where it gave none
    calls: int  # made for it, failed ones included
    cached: bool  # answered without a call of its own
    problem: str | None  # why there is no value
    # The model gave no reply: it refused the prompt, or failed on it to the end. Otherwise a
    # problem means that its reply could not be read.
    refused: bool = False


class ChatClient:
    """Calls a model for many prompts, each different one once.

    What may pass (rate limits, trouble of the server, lost connections) is tried again, each time
    within what the model's own client retries. A reply that cannot be parsed is sent back once for
    repair. Parsed replies are cached the moment they arrive: whatever ends a run, the next one asks
    only for what is missing.

    Args:
        model: Anything that `as_model` takes.
        cache: Folder for replies, on a local disk; may be shared by threads and processes.
        concurrency: Most calls at the same time. 1 for a model that is not safe for threads.
        retries: Further tries of a call that failed.
        max_calls: Most calls of this client, without those that the server answered with an error.
        max_tokens: Most tokens, of prompts and replies together, estimated.
        on_progress: Called with the numbers of prompts done and planned.
        planned: Prompts to expect; grows where there are more.
        sleep: Waits before a further try.
    """

    def __init__(
        self,
        model: object,
        *,
        cache: Path | str | None = None,
        concurrency: int = 4,
        retries: int = 4,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        planned: int = 0,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.model = as_model(model)
        self.calls = 0  # failed ones included
        self.cached = 0  # prompts answered without a call
        self._cache = None if cache is None else AnswerCache(cache)
        self._concurrency = at_least("concurrency", concurrency, 1, optional=False)
        self.budget = Budget(max_calls, max_tokens)
        self._caller = Caller(self.model, self.budget, retries=retries, sleep=sleep)
        self._on_progress = on_progress
        self._planned = planned
        self._done = 0

    def __repr__(self) -> str:
        """The model's name and the cache."""
        return f"ChatClient({self.model.name!r}, cache={self._cache!r})"

    def ask_all(
        self,
        prompts: Sequence[Prompt],
        parse: Callable[[str], T],
        *,
        output_tokens: int = REPLY_TOKENS,
    ) -> list[Answer[T]]:
        """One answer a prompt, in their order.

        `parse` reads a reply, in any thread, and raises ValueError where it cannot, with a message
        that tells the model what is wrong. `output_tokens` is the expected length of a reply.

        Raises:
            GuideError: A cap does not suffice, the model cannot be asked (wrong key, unknown name,
                not reachable) or answered no prompt at all, or the cache cannot be used. What was
                answered is in the cache.
        """
        asked = {answer_key(self.model.name, prompt): prompt for prompt in prompts}
        batch = _Batch(self._caller, self._cache, parse, output_tokens, threading.Event())
        answers = batch.known(list(asked))
        missing = {key: prompt for key, prompt in asked.items() if key not in answers}
        self.budget.check(estimate(missing.values(), output_tokens=output_tokens))
        self._caller.answered |= bool(answers)
        self._planned = max(self._planned, self._done + len(asked))
        self._report(len(answers))
        if missing and self._cache is not None:
            self._cache.prepare()
        self._run(missing, batch, answers)
        refused = [answer.problem for answer in answers.values() if answer.refused]
        # A model that answered before may decline all of a small step.
        if refused and len(refused) == len(answers) and not self._caller.answered:
            raise GuideError(
                f"The model {self.model.name} answered none of {len(refused):,} prompts; of the "
                f"first it said: {refused[0]}. Try it on one prompt by hand."
            )
        self.calls += sum(answer.calls for answer in answers.values())
        self.cached += sum(answer.cached for answer in answers.values())
        return [answers[answer_key(self.model.name, prompt)] for prompt in prompts]

    def finish(self) -> None:
        """Report that there are no further prompts, even where more were planned."""
        if self._on_progress is not None:
            self._on_progress(self._done, self._done)

    def _report(self, prompts: int) -> None:
        self._done += prompts
        if self._on_progress is not None and prompts:
            self._on_progress(self._done, self._planned)

    def _run(
        self, prompts: Mapping[str, Prompt], batch: "_Batch[T]", answers: dict[str, Answer[T]]
    ) -> None:
        pool = DaemonPool(self._concurrency, "instruct-chat")
        jobs: dict[Future[Answer[T]], str] = {}
        try:
            for key, prompt in prompts.items():
                # Tracing of the hosts goes by context variables, which threads do not inherit.
                jobs[pool.submit(copy_context().run, batch.answer, key, prompt)] = key
            for job in as_completed(jobs):
                # The error is that of the job that stopped this one.
                with contextlib.suppress(Stopped):
                    answers[jobs[job]] = job.result()
                    self._report(1)
        except BaseException as exc:
            batch.stop.set()
            pool.cancel()
            # Running calls are paid for: their replies are waited for and kept. Ctrl-C does not
            # wait, and their threads keep what still arrives while the process lives.
            if isinstance(exc, Exception):
                wait(jobs)
            raise


@dataclass(frozen=True)
class _Batch(Generic[T]):
    """From one prompt to one answer: cache, call, parse, repair, keep."""

    caller: Caller
    cache: AnswerCache | None
    parse: Callable[[str], T]
    output_tokens: int
    stop: threading.Event

    def known(self, keys: Sequence[str]) -> dict[str, Answer[T]]:
        replies = {} if self.cache is None else self.cache.get(keys)
        answers = {key: self._read(reply, 0) for key, reply in replies.items()}
        return {key: answer for key, answer in answers.items() if answer.problem is None}

    def answer(self, key: str, prompt: Prompt) -> Answer[T]:
        # Another process may have asked it since.
        if known := self.known([key]):
            return known[key]
        try:
            answer = self._ask(prompt)
            if self.cache is not None and answer.problem is None:
                self.cache.put(key, answer.raw)
        except GuideError:
            self.stop.set()
            raise
        return answer

    def _ask(self, prompt: Prompt) -> Answer[T]:
        call = partial(self.caller.call, output_tokens=self.output_tokens, stop=self.stop)
        first = call(prompt)
        if first.reply is None:
            return Answer(None, "", first.calls, False, first.problem, refused=True)
        answer = self._read(first.reply, first.calls)
        if answer.problem is None:
            return answer
        second = call(_repair_prompt(prompt, first.reply, answer.problem))
        calls = first.calls + second.calls
        if second.reply is None:
            why = f"{answer.problem} Asked for a better one, the model gave none: {second.problem}"
            return replace(answer, calls=calls, problem=why)
        return self._read(second.reply, calls)

    def _read(self, reply: str, calls: int) -> Answer[T]:
        value, problem = None, None
        try:
            if len(reply.encode()) > MAX_REPLY_BYTES:
                raise ReplyError(f"The reply has more than {MAX_REPLY_BYTES:,} bytes.")
            value = self.parse(reply)
        except ValueError as exc:
            problem = str(exc) or type(exc).__name__
        return Answer(value, reply, calls, cached=calls == 0, problem=problem)


def _repair_prompt(prompt: Prompt, reply: str, problem: str) -> Prompt:
    """The same question, with the bad reply and what is wrong with it."""
    # It may repeat texts of a collection. Thoughts are left out where something follows them.
    cut = (without_thoughts(reply).strip() or reply)[:_MOST_QUOTED_CHARACTERS]
    return Prompt(
        prompt.system,
        f"{prompt.user}\n\nYou have answered this before, and the answer could not be used. It "
        f"was, as a JSON string, possibly cut:\n{json.dumps(cut, ensure_ascii=False)}\n"
        f"What is wrong with it: {problem}\nAnswer again, in the form that was asked for and with "
        "nothing else.",
        prompt.schema,
    )
