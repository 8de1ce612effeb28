"""One shape for every model that answers text with text.

Host models are recognised by the methods they have, so that none of the hosts is imported for it.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from instruct_embeddings._extras import require
from instruct_embeddings._redaction import hide_secrets
from instruct_embeddings.errors import ConfigError

# In this order: what LangChain, LlamaIndex and the clients of vendors call it.
_NAMES = ("model_name", "model", "model_id", "deployment_name")
_NO_NAMES = ("", "unknown")
_WRAPPERS = ("bound", "first")
_MOST_WRAPPERS = 4
_THOUGHT = re.compile("think|thought|reason", re.IGNORECASE)


class TextModel(Protocol):
    """Any callable that turns a text into a text."""

    def __call__(self, text: str, /) -> str:
        """The model's reply."""
        ...


@dataclass(frozen=True)
class Prompt:
    """One question to a model.

    Attributes:
        system: What to do; written by us.
        user: What to do it with; may quote texts of a collection.
    """

    system: str
    user: str


@dataclass(frozen=True)
class AskedModel:
    """A model under a name.

    Attributes:
        name: Part of keys and caches: two models of one name share answers.
        ask: Sends one prompt and returns the reply; called from several threads.
    """

    name: str
    ask: Callable[[Prompt], str] = field(repr=False)


def as_model(model: object, *, name: str | None = None) -> AskedModel:
    """Take any LangChain chat model, LlamaIndex LLM or callable `str -> str`.

    Args:
        model: The model. A callable gets the system and the user part as one text. An `AskedModel`
            is taken as it is.
        name: Its name in keys and caches. Without it: the model name that a host's model tells, or
            an attribute `model_name` of a callable, else the name of its type or function.

    Raises:
        ConfigError: It is none of these, a class instead of a model, or async.
    """
    if name is not None and not name.strip():
        raise ConfigError(f"name={name!r} is empty. Name the model, or leave name out.")
    if isinstance(model, AskedModel):
        return model if name is None else AskedModel(name, model.ask)
    return AskedModel(hide_secrets(name or _name(model)), _ask(model))


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
            f"{_name(model)} is async; models are asked from threads. Pass a plain function, for "
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


def _ask_callable(model: TextModel, prompt: Prompt) -> str:
    return model(f"{prompt.system}\n\n{prompt.user}" if prompt.system else prompt.user)


def _text(content: Any) -> str:
    """Text of a message: a string, or blocks of which those that are no answer are left out."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content  # type: ignore[no-any-return]  # the caller checks for a string
    parts = [block.get("text") if isinstance(block, dict) else block for block in content]
    said = [not (isinstance(block, dict) and _is_thought(block)) for block in content]
    return "".join(x for x, ok in zip(parts, said, strict=True) if ok and isinstance(x, str))


def _is_thought(block: Mapping[str, Any]) -> bool:
    """Whether a block of a message holds what the model thought: by its type, or a mark of it."""
    return bool(block.get("thought")) or bool(_THOUGHT.search(str(block.get("type"))))


def _name(model: Any) -> str:
    told = _told_name(model)
    if told:
        return told
    while isinstance(model, partial):
        model = model.func
    named = model if hasattr(model, "__qualname__") else type(model)
    # Methods of builtins have no module.
    return f"{getattr(named, '__module__', 'builtins')}.{named.__qualname__}"


def _told_name(model: Any) -> str | None:
    """The model's own name; looked for inside what `bind` and its like wrap around a model."""
    for _ in range(_MOST_WRAPPERS):
        places = (model, getattr(model, "metadata", None))
        found = [getattr(place, name, None) for place in places for name in _NAMES]
        for name in found:
            if isinstance(name, str) and name.strip().lower() not in _NO_NAMES:
                return name.strip()
        inner = [getattr(model, wrapper, None) for wrapper in _WRAPPERS]
        model = next((part for part in inner if part is not None), None)
        if model is None:
            break
    return None
