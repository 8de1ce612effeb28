"""What calls of a chat model cost, and caps on the cost."""

import operator
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from threading import Lock

from instruct_embeddings.config import at_least
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.models import CountedReply, Prompt

REPLY_TOKENS = 100

# What a tokenizer of today most often makes one token of. Digits come alone or up to three
# together; a space is part of the word behind it, and not of a number.
_TOKEN = re.compile(
    r"[A-Za-z]{1,8}|[0-9]{1,2}| (?=[0-9])|[!-/:-@\[-`{-~]{1,2}|\n+"
    r"|[\u0080-\u1fff]{1,3}|[^\x00-\u1fff]"
)


@dataclass(frozen=True)
class Cost:
    """Calls of a model and the tokens they read and write.

    A server that says what it counted is believed; other tokens are estimates.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    counted: int = 0  # calls whose tokens the server counted

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*map(operator.sub, astuple(self), astuple(other)))

    def __str__(self) -> str:
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        tokens = f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"
        if 0 < self.counted == self.calls:
            return f"{calls}, {tokens} (counted by the server)"
        some = f", {self.counted:,} of them counted by the server" if self.counted else ""
        return f"{calls}{some}, about {tokens} (estimated)"

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


def estimate(prompts: Iterable[Prompt], *, output_tokens: int = REPLY_TOKENS) -> Cost:
    """The cost of one call a prompt, with replies of that length, without repair rounds."""
    sizes = [count_tokens(prompt.system) + count_tokens(prompt.user) for prompt in prompts]
    return Cost(len(sizes), sum(sizes), len(sizes) * output_tokens)


def count_tokens(text: str) -> int:
    """About how many tokens a text has.

    For English and JSON within a tenth of what tokenizers of language models count
    (docs/performance.md); for other scripts rougher.
    """
    return sum(1 for _ in _TOKEN.finditer(text))


def cost_of(reserved: Cost, reply: object) -> Cost:
    """What a call cost: as the server counted, or by an estimate of its reply."""
    if isinstance(reply, CountedReply):
        return Cost(1, reply.input_tokens, reply.output_tokens, counted=1)
    return Cost(1, reserved.input_tokens, count_tokens(str(reply)))


class Budget:
    """Counts the cost so far and refuses calls beyond a cap; safe for threads."""

    def __init__(self, max_calls: int | None, max_tokens: int | None) -> None:
        self._max_calls = at_least("max_calls", max_calls, 0)
        self._max_tokens = at_least("max_tokens", max_tokens, 0)
        self._lock = Lock()
        self.spent = Cost()  # running calls are counted at their estimate

    def check(self, estimated: Cost) -> None:
        """A `GuideError` if further calls exceed a cap, before the first one is made."""
        if cap := self._exceeded(self.spent + estimated):
            spent = f" after {self.spent} spent" if self.spent.calls else ""
            raise GuideError(
                f"The run would take {estimated}{spent}, more than {cap}. Raise the cap "
                "or lower the sample size."
            )

    def reserve(self, cost: Cost) -> None:
        """Count a call before it is made; a `GuideError` if a cap is reached."""
        with self._lock:
            if cap := self._exceeded(self.spent + cost):
                raise GuideError(
                    f"The run stopped: the next call would exceed {cap}; spent are {self.spent}. "
                    "Repair rounds come on top of an estimate. Answers so far are in the cache, "
                    "where there is one: raise the cap and run again to continue."
                )
            self.spent += cost

    def settle(self, reserved: Cost, actual: Cost) -> None:
        """Replace the reserved cost of a call by its actual one."""
        with self._lock:
            self.spent += actual - reserved

    def _exceeded(self, cost: Cost) -> str | None:
        if self._max_calls is not None and cost.calls > self._max_calls:
            return f"max_calls={self._max_calls:,}"
        if self._max_tokens is not None and cost.tokens > self._max_tokens:
            return f"max_tokens={self._max_tokens:,}"
        return None
