"""What calling a model costs, and caps on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from instruct_embeddings.config import at_least
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.models import Prompt

BYTES_PER_TOKEN = 4
REPLY_TOKENS = 100


@dataclass(frozen=True)
class Cost:
    """Calls of a model and the tokens they read and write.

    Tokens are estimates: about one for every four bytes of UTF-8, which is four characters of
    English, two of Cyrillic and more than one of Chinese. The model's own count may differ by a
    third.

    Attributes:
        calls: Number of calls.
        input_tokens: Tokens of the prompts.
        output_tokens: Tokens of the replies.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        return self + Cost(-other.calls, -other.input_tokens, -other.output_tokens)

    def __str__(self) -> str:
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return (
            f"{calls}, about {self.input_tokens:,} tokens in and "
            f"{self.output_tokens:,} out (estimated)"
        )

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


def estimate(prompts: Iterable[Prompt], *, output_tokens: int = REPLY_TOKENS) -> Cost:
    """The cost of one call a prompt, with replies of that length, without repair rounds."""
    sizes = [count_tokens(prompt.system) + count_tokens(prompt.user) for prompt in prompts]
    return Cost(len(sizes), sum(sizes), len(sizes) * output_tokens)


def count_tokens(text: str) -> int:
    """A rough number of tokens: bytes of UTF-8 by four, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


class Budget:
    """Counts the cost so far and refuses calls beyond a cap; safe for threads.

    Attributes:
        spent: Cost so far; running calls are counted at their estimate.
    """

    def __init__(self, max_calls: int | None, max_tokens: int | None) -> None:
        self._max_calls = at_least("max_calls", max_calls, 0)
        self._max_tokens = at_least("max_tokens", max_tokens, 0)
        self._lock = Lock()
        self.spent = Cost()

    def check(self, estimated: Cost) -> None:
        """Refuse a number of calls before the first one is made.

        Raises:
            GuideError: Together with the cost so far they exceed a cap.
        """
        cap = self._exceeded(self.spent + estimated)
        if cap is not None:
            spent = f" after {self.spent} spent" if self.spent.calls else ""
            raise GuideError(
                f"The run would take {estimated}{spent}, more than {cap}. Raise the cap "
                "or lower the sample size."
            )

    def reserve(self, cost: Cost) -> None:
        """Count a call before it is made.

        Raises:
            GuideError: A cap is reached.
        """
        with self._lock:
            cap = self._exceeded(self.spent + cost)
            if cap is not None:
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
