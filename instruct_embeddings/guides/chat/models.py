"""One shape for every chat model, what its calls cost, and caps on the cost."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from threading import Lock
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._printable import hide_secrets
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError, GuideError

# In this order: as LangChain, LlamaIndex and the clients of vendors name it.
_NAMES = ("model_name", "model", "model_id", "deployment_name")
_NO_NAMES = ("", "unknown")
_MOST_WRAPPERS = 4

BYTES_PER_TOKEN = 4
REPLY_TOKENS = 100


@dataclass(frozen=True)
class Prompt:
    """One question to a model."""

    system: str  # the task, written by us
    user: str  # the input, which may quote texts of a collection

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Role and text of the parts that are not empty; a user part there is in any case."""
        system = [("system", self.system)] if self.system else []
        return [*system, ("user", self.user)]


@dataclass(frozen=True)
class ChatModel:
    """A model under a name, which is part of keys and caches: models of one name share answers."""

    name: str
    ask: Callable[[Prompt], str] = field(repr=False)  # called from several threads


def as_model(model: object) -> ChatModel:
    """Take any LangChain chat model, LlamaIndex LLM, callable `str -> str` or `ChatModel`.

    A callable gets the system and the user part as one text. The name is what a host's model calls
    itself, or an attribute `model_name` of a callable, else that of its type or function.

    Raises:
        ConfigError: It is none of these, a class instead of a model, or async.
    """
    if isinstance(model, ChatModel):
        return model
    return ChatModel(hide_secrets(_own_name(model) or _type_name(model)), _ask(model))


def _ask(model: Any) -> Callable[[Prompt], str]:
    if not inspect.isclass(model):
        if hasattr(model, "invoke"):
            return partial(_ask_langchain, model)
        if hasattr(model, "chat") and hasattr(model, "metadata"):
            return partial(_ask_llama_index, model)
        if callable(model) and not any(map(inspect.iscoroutinefunction, (model, model.__call__))):
            return partial(_ask_callable, model)
    raise ConfigError(
        "A model is a LangChain chat model, a LlamaIndex LLM or a plain function str -> str, got "
        f"{getattr(model, '__name__', type(model).__name__)}. Pass an instance, not a class; wrap "
        "what is async or of another kind in a function that takes a text and returns one."
    )


def _ask_langchain(model: Any, prompt: Prompt) -> str:
    reply = model.invoke(prompt.messages)
    # A chain that ends in an output parser gives a string.
    return getattr(reply, "text", reply)  # type: ignore[no-any-return]  # the caller checks it


def _ask_llama_index(model: Any, prompt: Prompt) -> str:
    message = require("llama_index.core.llms", extra="llama-index").ChatMessage
    reply = model.chat([message(role=role, content=text) for role, text in prompt.messages])
    return reply.message.content or ""


def _ask_callable(model: Callable[[str], str], prompt: Prompt) -> str:
    return model("\n\n".join(text for _, text in prompt.messages))


def _own_name(model: Any) -> str | None:
    """The name that a model gives itself, also inside what `bind` and its like wrap around it."""
    for _ in range(_MOST_WRAPPERS):
        for owner, attribute in product((model, getattr(model, "metadata", None)), _NAMES):
            name = getattr(owner, attribute, None)
            if isinstance(name, str) and name.strip().lower() not in _NO_NAMES:
                return name.strip()
        model = getattr(model, "bound", None) or getattr(model, "first", None)
    return None


def _type_name(model: Any) -> str:
    while isinstance(model, partial):
        model = model.func
    named = model if hasattr(model, "__qualname__") else type(model)
    # Methods of builtins have no module.
    return f"{getattr(named, '__module__', 'builtins')}.{named.__qualname__}"


@dataclass(frozen=True)
class Cost:
    """Calls of a model and the tokens they read and write.

    Tokens are estimates: about one for every four bytes of UTF-8, which is four characters of
    English, two of Cyrillic and more than one of Chinese. The model's own count may differ by a
    third.
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
