"""One call of a model that is tried until it replies."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from instruct_embeddings._threads import within
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.asking.budget import Budget
from instruct_embeddings.guides.asking.cache import answer_key
from instruct_embeddings.guides.asking.cost import Cost, count_tokens, estimate
from instruct_embeddings.guides.asking.failures import Failure, Kind, understand
from instruct_embeddings.guides.asking.models import AskedModel, Prompt

LONGEST_WAIT = 120.0
PROMPTS_IN_VAIN = 5
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0

Sleep: TypeAlias = Callable[[float], object]


class Stopped(Exception):
    """Another thread met what ends the whole asking."""


@dataclass(frozen=True)
class Outcome:
    """What came of calling.

    Attributes:
        reply: The model's text, or None.
        calls: Calls made.
        problem: Why there is no reply; empty where there is one.
    """

    reply: str | None
    calls: int
    problem: str = ""


class Caller:
    """Calls a model with retries, within a budget."""

    def __init__(
        self, model: AskedModel, budget: Budget, *, retries: int, timeout: float | None
    ) -> None:
        """Nothing is called yet."""
        self._model = model
        self._budget = budget
        self._retries = retries
        self._timeout = timeout
        self._lock = threading.Lock()
        self._in_vain = 0
        self.answered = False
        """Whether this model is known to answer."""

    def call(
        self, prompt: Prompt, *, output_tokens: int, stop: threading.Event, sleep: Sleep
    ) -> Outcome:
        """Call until there is a reply or no use in going on.

        Args:
            prompt: What to ask.
            output_tokens: Expected length of the reply.
            stop: Set when the whole asking has ended.
            sleep: Waits some seconds; may return early when `stop` is set.

        Raises:
            GuideError: A cap is reached, or no call of this model can succeed.
            Stopped: `stop` is set.
        """
        calls = 0
        while not stop.is_set():
            got = self._once(prompt, output_tokens)
            calls += 1
            if isinstance(got, str):
                return Outcome(got, calls)
            self._raise_if_hopeless(got)
            if got.kind is Kind.REFUSED or calls > self._retries:
                self._raise_if_in_vain(got)
                tries = f"{calls} tries, at last " if calls > 1 else ""
                return Outcome(None, calls, f"{tries}{got.message}")
            sleep(_wait(got, calls, prompt))
        raise Stopped

    def _once(self, prompt: Prompt, output_tokens: int) -> str | Failure:
        reserved = estimate([prompt], output_tokens=output_tokens)
        self._budget.reserve(reserved)
        actual = reserved
        try:
            reply = within(self._timeout, self._model.ask, prompt)
            if isinstance(reply, str):
                # Half of a surrogate pair can neither be stored nor sent back for repair.
                reply = reply.encode("utf-8", "replace").decode("utf-8")
                actual = Cost(1, reserved.input_tokens, count_tokens(reply))
        except Exception as exc:
            failure = understand(exc)
            actual = Cost(1, reserved.input_tokens, 0) if failure.charged else Cost()
            return failure
        finally:
            self._budget.settle(reserved, actual)
        if not isinstance(reply, str):
            raise GuideError(
                f"The model {self._model.name} returned {type(reply).__name__}, not text. Any text "
                "is allowed. Return the text of its reply."
            )
        with self._lock:
            self.answered = True
            self._in_vain = 0
        return reply

    # What a client raised is told and never chained: tracebacks show all of it, keys included.
    def _raise_if_hopeless(self, failure: Failure) -> None:
        if failure.kind is Kind.STOP or (failure.kind is Kind.UNCLEAR and not self.answered):
            raise GuideError(
                f"The model {self._model.name} cannot be asked: {failure.message}. Check its name, "
                "its key and its address; nothing more was asked."
            )
        if failure.retry_after is not None and failure.retry_after > LONGEST_WAIT:
            raise GuideError(
                f"The model {self._model.name} asks to wait {failure.retry_after:,.0f} seconds; at "
                f"most {LONGEST_WAIT:,.0f} are waited ({failure.message}). Run again later: "
                "answers so far are in the cache, where there is one."
            )

    def _raise_if_in_vain(self, failure: Failure) -> None:
        with self._lock:
            # A model that answers others may refuse any number of prompts.
            if not (self.answered and failure.kind is Kind.REFUSED):
                self._in_vain += 1
            if self._in_vain < PROMPTS_IN_VAIN:
                return
            self._in_vain = 0
        raise GuideError(
            f"The model {self._model.name} gave no answer to {PROMPTS_IN_VAIN} prompts in a row, "
            f"at last: {failure.message}. Check that it is in reach; run again to continue, with "
            "the answers so far from the cache, where there is one."
        )


def _wait(failure: Failure, calls: int, prompt: Prompt) -> float:
    """Seconds before the next try: half to all of a pause that doubles with each call."""
    # Seeded by the prompt: the same in every run, different between threads.
    chance = random.Random(f"{calls} {answer_key('', prompt)}").random()
    pause: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (calls - 1))
    return max(pause * (1 + chance) / 2, failure.retry_after or 0.0)
