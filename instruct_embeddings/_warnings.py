"""Warnings that point at the line of the user who called, however deep and in whichever thread."""

import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any

# Whose lines say nothing to a user: ours, and those of hosts that call us.
_BETWEEN = (
    "instruct_embeddings",
    "chroma_instruct_embeddings",
    "langchain_instruct_embeddings",
    "llama_index_instruct_embeddings",
    "chromadb",
    "langchain",
    "langchain_chroma",
    "langchain_classic",
    "langchain_community",
    "langchain_core",
    "langgraph",
    "langsmith",
    "llama_index",
    "llama_index_instrumentation",
    "pydantic",
    "tenacity",
    "workflows",
)
_INSTALLED = tuple(
    os.path.join(folder, "")
    for name in ("purelib", "platlib", "scripts")
    if (folder := sysconfig.get_path(name))
)


@dataclass(frozen=True)
class _Place:
    """A line of code."""

    file: str
    line: int
    module: str
    registry: dict[Any, Any]


_called_from: ContextVar[_Place | None] = ContextVar("called_from", default=None)


@contextmanager
def from_here() -> Iterator[None]:
    """Keep the caller's line for warnings of work that goes on in other threads.

    Threads are given it with the context, as `asyncio.to_thread` and `copy_context` do.
    """
    token = _called_from.set(_nearest(_is_users) or _called_from.get())
    try:
        yield
    finally:
        _called_from.reset(token)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line of the user's own code.

    Where none is on the stack, at the line that `from_here` has kept, else at the nearest line that
    belongs to no host.
    """
    place = _nearest(_is_users) or _called_from.get() or _nearest(_is_none_between)
    if place is None:
        warnings.warn(message, category, stacklevel=2)
        return
    warnings.warn_explicit(message, category, place.file, place.line, place.module, place.registry)


def _nearest(wanted: Callable[[FrameType], bool]) -> _Place | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not wanted(frame):
        frame = frame.f_back
    if frame is None:
        return None
    known = frame.f_globals
    registry = known.setdefault("__warningregistry__", {})
    return _Place(frame.f_code.co_filename, frame.f_lineno, _module(frame), registry)


def _is_users(frame: FrameType) -> bool:
    return _is_none_between(frame) and not frame.f_code.co_filename.startswith(_INSTALLED)


def _is_none_between(frame: FrameType) -> bool:
    first = _module(frame).partition(".")[0]
    return not (first in _BETWEEN or first in sys.stdlib_module_names or _is_frozen(frame))


def _is_frozen(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<frozen")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "<unknown>"))
