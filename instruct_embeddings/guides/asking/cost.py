"""What asking will cost, told before the first call."""

from collections.abc import Iterable
from dataclasses import dataclass

from instruct_embeddings.guides.asking.models import Prompt

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
        return Cost(
            self.calls - other.calls,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
        )

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
    """The cost of one call a prompt, without repair rounds.

    Args:
        prompts: What will be asked.
        output_tokens: Expected length of a reply.
    """
    sizes = [count_tokens(prompt.system) + count_tokens(prompt.user) for prompt in prompts]
    return Cost(len(sizes), sum(sizes), len(sizes) * output_tokens)


def count_tokens(text: str) -> int:
    """A rough number of tokens: bytes of UTF-8 by four, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
