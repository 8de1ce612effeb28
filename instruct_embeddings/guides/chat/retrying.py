"""Calls of a model, tried again where a failure may pass.

Clients differ; their exceptions are understood by what they carry: an HTTP status, a response with
headers, or the type of a builtin.
"""

import json
import math
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    sleep_using_event,
    stop_after_attempt,
    wait_exponential,
    wait_random_exponential,
)

from instruct_embeddings._printable import safe_message
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.costs import Budget, Cost, cost_of, estimate
from instruct_embeddings.guides.chat.models import ChatModel, Prompt

LONGEST_WAIT = 120.0
FAILED_PROMPTS = 5
# Half to all of a pause that doubles from 0.5 to 30 seconds.
_BACKOFF = wait_exponential(0.25, max=15) + wait_random_exponential(0.25, max=15)

_PASSING = (408, 409, 425, 429)
_ABOUT_THIS_PROMPT = (400, 413, 422, 451)
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
_FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(NameError, NotImplementedError, TypeError, ValueError),
)
_UNSENT = (ConnectionRefusedError, socket.gaierror)
_MOST_CAUSES = 4


class Kind(Enum):
    """What to do about a failed call."""

    RETRY = "retry"  # it may pass: rate limits, trouble of the server, lost connections
    REFUSED = "refused"  # the model does not take this prompt; others may do
    STOP = "stop"  # no call can succeed: wrong key, unknown model, no money left
    UNCLEAR = "unclear"  # a fault or nonsense: it may pass if the model answered before


@dataclass(frozen=True)
class Failure:
    """One failed call."""

    kind: Kind
    message: str  # of the client, short and without credentials
    charged: bool  # it may have reached the server, which did not say that it failed
    retry_after: float  # seconds that the server asks to wait, 0 where it does not


class Stopped(Exception):
    """Another thread met what ends all calls."""


class Outcome(NamedTuple):
    """The reply or, if there is none, the problem, and the number of calls made."""

    reply: str | None
    calls: int
    problem: str = ""


class Caller:
    """Calls a model with retries, within a budget."""

    def __init__(
        self,
        model: ChatModel,
        budget: Budget,
        *,
        retries: int,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.answered = False  # whether this model is known to answer
        self._model = model
        self._budget = budget
        self._retries = at_least("retries", retries, 0, optional=False)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._failed_prompts = 0

    def call(self, prompt: Prompt, *, output_tokens: int, stop: threading.Event) -> Outcome:
        """Call until there is a reply, no further try is of use, or `stop` is set."""
        retrying = Retrying(
            retry=retry_if_result(
                lambda got: not isinstance(got, str) and got.kind != Kind.REFUSED
            ),
            stop=stop_after_attempt(self._retries + 1),
            wait=lambda state: max(_BACKOFF(state), _result(state).retry_after),
            sleep=self._sleep or sleep_using_event(stop),
            retry_error_callback=_result,
        )
        got: str | Failure = retrying(self._once, prompt, output_tokens, stop)
        calls = int(retrying.statistics["attempt_number"])
        if isinstance(got, str):
            return Outcome(got, calls)
        self._count_failed_prompt(got)
        tries = f"{calls} tries, at last " if calls > 1 else ""
        return Outcome(None, calls, f"{tries}{got.message}")

    def _once(self, prompt: Prompt, output_tokens: int, stop: threading.Event) -> str | Failure:
        if stop.is_set():
            raise Stopped
        reserved = actual = estimate([prompt], output_tokens=output_tokens)
        self._budget.reserve(reserved)
        failure = None
        try:
            reply = self._model.ask(prompt)
            actual = cost_of(reserved, reply)
        except Exception as exc:
            failure = understand(exc)
            actual = Cost(1, reserved.input_tokens, 0) if failure.charged else Cost()
        finally:
            self._budget.settle(reserved, actual)
        if failure is not None:
            self._raise_if_hopeless(failure)
            return failure
        if not isinstance(reply, str):
            raise GuideError(
                f"The model {self._model.name} returned {type(reply).__name__}, not text. Any text "
                "is allowed. Return the text of its reply."
            )
        with self._lock:
            self.answered = True
            self._failed_prompts = 0
        # Half of a surrogate pair can neither be stored nor sent back for repair.
        return reply.encode("utf-8", "replace").decode("utf-8")

    # A client's exception is quoted and never chained: tracebacks show all of it, keys included.
    def _raise_if_hopeless(self, failure: Failure) -> None:
        if failure.kind is Kind.STOP or (failure.kind is Kind.UNCLEAR and not self.answered):
            raise GuideError(
                f"The model {self._model.name} cannot be asked: {failure.message}. Check its name, "
                "its key and its address; nothing more was asked."
            )
        if failure.retry_after > LONGEST_WAIT:
            raise GuideError(
                f"The model {self._model.name} asks to wait {failure.retry_after:,.0f} seconds; at "
                f"most {LONGEST_WAIT:,.0f} are waited ({failure.message}). Run again later: "
                "answers so far are in the cache, where there is one."
            )

    def _count_failed_prompt(self, failure: Failure) -> None:
        with self._lock:
            # A model that answers others may refuse any number of prompts.
            if not (self.answered and failure.kind is Kind.REFUSED):
                self._failed_prompts += 1
            if self._failed_prompts < FAILED_PROMPTS:
                return
            self._failed_prompts = 0
        raise GuideError(
            f"The model {self._model.name} gave no answer to {FAILED_PROMPTS} prompts in a row, "
            f"at last: {failure.message}. Check that it is in reach; run again to continue, with "
            "the answers so far from the cache, where there is one."
        )


def _result(state: RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


def understand(error: Exception) -> Failure:
    """Read what an exception, or what caused it, carries."""
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None and len(causes) < _MOST_CAUSES:
        causes.append(causes[-1].__cause__)
    status = next(filter(None, map(_status, causes)), None)
    reason = getattr(error, "reason", None)  # of urllib, which sets no cause
    unsent = any(isinstance(one, _UNSENT) for one in (*causes, reason))
    no_money = any(getattr(one, "code", None) in _NO_MONEY for one in causes)
    return Failure(
        kind=Kind.STOP if no_money else _kind(error, status),
        message=safe_message(error),
        charged=not unsent if status is None else status < 400,
        retry_after=max(map(_retry_after, causes)),
    )


def _kind(error: Exception, status: int | None) -> Kind:
    if status is not None:
        if status in _PASSING or status >= 500 or status < 300:
            return Kind.RETRY
        return Kind.REFUSED if status in _ABOUT_THIS_PROMPT else Kind.STOP
    if isinstance(error, UnicodeError):
        return Kind.REFUSED
    # A body that is no JSON comes from a proxy or a server in trouble.
    fault = isinstance(error, _FAULTS) and not isinstance(error, json.JSONDecodeError)
    return Kind.UNCLEAR if fault else Kind.RETRY


def _status(error: BaseException) -> int | None:
    owners = (error, getattr(error, "response", None))
    names = ("status_code", "code", "status")
    found = (getattr(owner, name, None) for name in names for owner in owners)
    return next((x for x in found if isinstance(x, int) and 100 <= x < 600), None)


def _retry_after(error: BaseException) -> float:
    response = getattr(error, "response", None)
    headers: Any = getattr(response, "headers", None) or getattr(error, "headers", None)
    if not hasattr(headers, "get"):
        return 0.0
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name) or headers.get(name.title()) or "")
        except (TypeError, ValueError):  # a date, which the usual pauses have to do for
            continue
        return seconds * unit if math.isfinite(seconds) else 0.0
    return 0.0
