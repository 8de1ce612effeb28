"""One shape for every chat model, bound to a schema where its host and its server offer that."""

import contextlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._printable import hide_secrets, safe_message
from instruct_embeddings.errors import ConfigError

# In this order: as LangChain, LlamaIndex and the clients of vendors name it.
_NAMES = ("model_name", "model", "model_id", "deployment_name")
_NO_NAMES = ("", "unknown")
_MOST_WRAPPERS = 4

_NO_SCHEMA = (400, 404, 415, 422, 501)
_LANGCHAIN_OPTIONS: tuple[dict[str, Any], ...] = (
    {"method": "json_schema", "strict": True},
    {"method": "json_schema"},
    {},
)
_LLAMA_OPENAI = "llama_index.llms.openai."
_OPENAI_COUNTS = ("prompt_tokens", "completion_tokens")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompt:
    """One question to a model."""

    system: str  # the task, written by us
    user: str  # the input, which may quote texts of a collection
    # JSON schema of the reply, an object, for servers that can bind a model to one.
    schema: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Role and text of the parts that are not empty; a user part there is in any case."""
        system = [("system", self.system)] if self.system else []
        return [*system, ("user", self.user)]


class CountedReply(str):
    """A reply with the tokens that the server counted for it."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class ChatModel:
    """A model under a name, which is part of keys and caches: models of one name share answers."""

    name: str
    # Called from several threads; may say by a `CountedReply` what the server counted.
    ask: Callable[[Prompt], str] = field(repr=False)


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
            return _SchemaFirst(partial(_ask_langchain, model), partial(_bound_langchain, model))
        if hasattr(model, "chat") and hasattr(model, "metadata"):
            return _SchemaFirst(partial(_ask_llama_index, model), partial(_bound_llama, model))
        if callable(model) and not any(map(inspect.iscoroutinefunction, (model, model.__call__))):
            return partial(_ask_callable, model)
    raise ConfigError(
        "A model is a LangChain chat model, a LlamaIndex LLM or a plain function str -> str, got "
        f"{getattr(model, '__name__', type(model).__name__)}. Pass an instance, not a class; wrap "
        "what is async or of another kind in a function that takes a text and returns one."
    )


class _SchemaFirst:
    """Asks for replies that are bound to the prompt's schema, until a server declines that.

    `bound` gives None where the host's model offers none. A server declines by a status that may be
    about the prompt too: the same prompt without a schema tells which.
    """

    def __init__(
        self, plain: Callable[[Prompt], str], bound: Callable[[Prompt], str | None]
    ) -> None:
        self._plain, self._bound = plain, bound
        self._offered: bool | None = None  # not known yet

    def __call__(self, prompt: Prompt) -> str:
        if prompt.schema is None or self._offered is False:
            return self._plain(prompt)
        try:
            reply = self._bound(prompt)
        except Exception as exc:
            # Once schemas were taken, it is the prompt that is declined.
            if self._offered or getattr(exc, "status_code", None) not in _NO_SCHEMA:
                raise
            reply = self._plain(prompt)
            _logger.info("Replies are not bound to a schema: %s", safe_message(exc))
            self._offered = False
            return reply
        self._offered = reply is not None
        return self._plain(prompt) if reply is None else reply


def _ask_langchain(model: Any, prompt: Prompt) -> str:
    reply = model.invoke(prompt.messages)
    # A chain that ends in an output parser gives a string.
    text = getattr(reply, "text", reply)
    return _counted(text, getattr(reply, "usage_metadata", None), "input_tokens", "output_tokens")


def _bound_langchain(model: Any, prompt: Prompt) -> str | None:
    # What `bind` and its like wrap would lose its options.
    if not hasattr(type(model), "with_structured_output"):
        return None
    for options in _LANGCHAIN_OPTIONS:
        with contextlib.suppress(TypeError, ValueError, NotImplementedError):
            asking = model.with_structured_output(prompt.schema, include_raw=True, **options)
            break
    else:
        return None
    try:
        found = asking.invoke(prompt.messages)
    except Exception as exc:
        # OpenAI's client raises where a reply was cut off, and carries it.
        if (cut := getattr(exc, "completion", None)) is None:
            raise
        usage = cut.usage and cut.usage.model_dump()
        return _counted(cut.choices[0].message.content or "", usage, *_OPENAI_COUNTS)
    raw, parsed = found["raw"], found["parsed"]
    # Models that are bound by calling a tool write no text.
    text = raw.text or ("" if parsed is None else json.dumps(parsed, ensure_ascii=False))
    return _counted(text, raw.usage_metadata, "input_tokens", "output_tokens")


def _ask_llama_index(model: Any, prompt: Prompt, **options: Any) -> str:
    message = require("llama_index.core.llms", extra="llama-index").ChatMessage
    told = [message(role=role, content=text) for role, text in prompt.messages]
    reply = model.chat(told, **options)
    return _counted(reply.message.content or "", reply.additional_kwargs, *_OPENAI_COUNTS)


def _bound_llama(model: Any, prompt: Prompt) -> str | None:
    """By the option of OpenAI's protocol: LlamaIndex's own way takes classes, not schemas."""
    if not any(base.__module__.startswith(_LLAMA_OPENAI) for base in type(model).__mro__):
        return None
    schema = {"name": "reply", "strict": True, "schema": prompt.schema}
    bound = {"type": "json_schema", "json_schema": schema}
    return _ask_llama_index(model, prompt, response_format=bound)


def _counted(text: Any, usage: Any, read: str, written: str) -> str:
    """The text, with the server's count of tokens where there is one."""
    found = [usage.get(key) for key in (read, written)] if isinstance(usage, Mapping) else []
    counts = [count for count in found if isinstance(count, int)]
    if isinstance(text, str) and len(counts) == 2:
        text = CountedReply(text)
        text.input_tokens, text.output_tokens = counts
    return text  # type: ignore[no-any-return]  # the caller checks it


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
