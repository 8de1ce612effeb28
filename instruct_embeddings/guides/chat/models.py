"""One shape for every chat model; those of the hosts are recognised by their methods."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._redaction import hide_secrets
from instruct_embeddings.errors import ConfigError

# In this order: as LangChain, LlamaIndex and the clients of vendors name it.
_NAMES = ("model_name", "model", "model_id", "deployment_name")
_NO_NAMES = ("", "unknown")
_WRAPPERS = ("bound", "first")
_MOST_WRAPPERS = 4
_THOUGHT = re.compile("think|thought|reason", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """One question to a model.

    Attributes:
        system: The task; written by us.
        user: The input; may quote texts of a collection.
    """

    system: str
    user: str


@dataclass(frozen=True)
class ChatModel:
    """A model under a name.

    Attributes:
        name: Part of keys and caches: two models of one name share answers.
        ask: Sends one prompt and returns the reply; called from several threads.
    """

    name: str
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
    return ChatModel(hide_secrets(_name(model)), _ask(model))


def _ask(model: Any) -> Callable[[Prompt], str]:
    if inspect.isclass(model):
        raise ConfigError(
            f"{model.__name__} is a class, not a model. Pass an instance: {model.__name__}(...)."
        )
    if _has(model, "invoke", "bind"):
        return partial(_ask_langchain, model)
    if _has(model, "chat") and hasattr(model, "metadata"):
        return partial(_ask_llama_index, model)
    if not callable(model):
        raise ConfigError(
            f"A model is a LangChain chat model, a LlamaIndex LLM or a callable str -> str, got "
            f"{type(model).__name__}. Wrap it in a function that takes a text and returns one."
        )
    if inspect.iscoroutinefunction(model) or inspect.iscoroutinefunction(model.__call__):
        raise ConfigError(
            f"{_name(model)} is async; models are called from threads. Pass a plain function, for "
            "example one that calls asyncio.run."
        )
    return partial(_ask_callable, model)


def _has(model: object, *methods: str) -> bool:
    return all(callable(getattr(model, method, None)) for method in methods)


def _ask_langchain(model: Any, prompt: Prompt) -> str:
    system = [("system", prompt.system)] if prompt.system else []
    reply = model.invoke([*system, ("human", prompt.user)])
    # A chain that ends in an output parser gives a string.
    return _text(getattr(reply, "content", reply))


def _ask_llama_index(model: Any, prompt: Prompt) -> str:
    message = require("llama_index.core.llms", extra="llama-index").ChatMessage
    system = [message(role="system", content=prompt.system)] if prompt.system else []
    reply = model.chat([*system, message(role="user", content=prompt.user)])
    return _text(reply.message.content)


def _ask_callable(model: Callable[[str], str], prompt: Prompt) -> str:
    return model(f"{prompt.system}\n\n{prompt.user}" if prompt.system else prompt.user)


def _text(content: Any) -> str:
    """Text of a message: a string, or its blocks without those that are no answer."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content  # type: ignore[no-any-return]  # the caller checks for a string
    texts = [
        block.get("text") if isinstance(block, Mapping) else block
        for block in content
        if not (isinstance(block, Mapping) and _is_thought(block))
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _is_thought(block: Mapping[str, Any]) -> bool:
    return bool(block.get("thought")) or bool(_THOUGHT.search(str(block.get("type"))))


def _name(model: Any) -> str:
    own = _own_name(model)
    if own:
        return own
    while isinstance(model, partial):
        model = model.func
    named = model if hasattr(model, "__qualname__") else type(model)
    # Methods of builtins have no module.
    return f"{getattr(named, '__module__', 'builtins')}.{named.__qualname__}"


def _own_name(model: Any) -> str | None:
    """The name that a model gives itself, also inside what `bind` and its like wrap around it."""
    for _ in range(_MOST_WRAPPERS):
        for owner in (model, getattr(model, "metadata", None)):
            for attribute in _NAMES:
                name = getattr(owner, attribute, None)
                if isinstance(name, str) and name.strip().lower() not in _NO_NAMES:
                    return name.strip()
        inner = [getattr(model, wrapper, None) for wrapper in _WRAPPERS]
        model = next((one for one in inner if one is not None), None)
        if model is None:
            break
    return None
