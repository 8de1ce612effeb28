"""From one prompt to one answer: cache, call, parse, repair, keep."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.asking.answer import Answer
from instruct_embeddings.guides.asking.cache import MAX_REPLY_BYTES, AnswerCache
from instruct_embeddings.guides.asking.calling import Caller, Outcome, Sleep
from instruct_embeddings.guides.asking.models import Prompt
from instruct_embeddings.guides.asking.repair import repair_prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Work(Generic[T]):
    """What the prompts of one `ask_all` share.

    Attributes:
        caller: Calls the model.
        cache: Replies on disk, or None.
        parse: Reads a reply.
        output_tokens: Expected length of a reply.
    """

    caller: Caller
    cache: AnswerCache | None
    parse: Callable[[str], T]
    output_tokens: int

    def known(self, keys: Sequence[str]) -> dict[str, Answer[T]]:
        """Answers whose replies are in the cache and can still be read."""
        replies = {} if self.cache is None else self.cache.get(keys)
        found: dict[str, Answer[T]] = {}
        for key, reply in replies.items():
            answer = self._read(Outcome(reply, 0))
            if answer.problem is None:
                found[key] = answer
        return found

    def answer(self, key: str, prompt: Prompt, stop: threading.Event, sleep: Sleep) -> Answer[T]:
        """Ask one prompt, with one round of repair.

        Raises:
            GuideError: Nothing more can be asked; `stop` is set then.
            Stopped: `stop` was set meanwhile.
        """
        # Another process may have asked it since.
        known = self.known([key])
        if known:
            return known[key]
        try:
            answer = self._asked(prompt, stop, sleep)
            if self.cache is not None and answer.problem is None:
                self.cache.put(key, answer.raw)
        except GuideError:
            stop.set()
            raise
        return answer

    def _asked(self, prompt: Prompt, stop: threading.Event, sleep: Sleep) -> Answer[T]:
        first = self._call(prompt, stop, sleep)
        answer = self._read(first)
        if first.reply is None or answer.problem is None:
            return answer
        second = self._call(repair_prompt(prompt, first.reply, answer.problem), stop, sleep)
        calls = first.calls + second.calls
        if second.reply is None:
            why = f"{answer.problem} Asked for a better one, the model gave none: {second.problem}"
            return Answer(None, first.reply, calls, False, why)
        return self._read(Outcome(second.reply, calls))

    def _call(self, prompt: Prompt, stop: threading.Event, sleep: Sleep) -> Outcome:
        return self.caller.call(prompt, output_tokens=self.output_tokens, stop=stop, sleep=sleep)

    def _read(self, outcome: Outcome) -> Answer[T]:
        reply, calls = outcome.reply, outcome.calls
        if reply is None:
            return Answer(None, "", calls, False, outcome.problem, refused=True)
        if len(reply.encode("utf-8")) > MAX_REPLY_BYTES:
            why = f"The reply has more than {MAX_REPLY_BYTES:,} bytes."
            return Answer(None, reply, calls, False, why)
        try:
            value = self.parse(reply)
        except GuideError:
            raise
        except ValueError as exc:
            return Answer(None, reply, calls, False, str(exc) or type(exc).__name__)
        return Answer(value, reply, calls, cached=calls == 0, problem=None)
