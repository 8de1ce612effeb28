"""Warnings that point at the line of the user who called, however deep and in whichever thread."""

import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeAlias

_OURS = (
    "instruct_embeddings",
    "chroma_instruct_embeddings",
    "langchain_instruct_embeddings",
    "llama_index_instruct_embeddings",
    "milvus_instruct_embeddings",
    "postgres_instruct_embeddings",
    "qdrant_instruct_embeddings",
    "ray_instruct_embeddings",
)
# Whose lines say nothing to a user: hosts that call us are installed.
_INSTALLED = tuple(
    os.path.join(folder, "")
    for folder in (
        *site.getsitepackages(),
        site.getusersitepackages(),
        sysconfig.get_path("scripts"),
    )
)

# File, line, module and registry, as `warnings.warn_explicit` takes them.
_Line: TypeAlias = tuple[str, int, str, dict[Any, Any]]

_called_from: ContextVar[_Line | None] = ContextVar("called_from", default=None)


@contextmanager
def from_here() -> Iterator[None]:
    """Keep the caller's line for warnings of work that goes on in other threads.

    Threads get it with the context, as `asyncio.to_thread` and `copy_context` do.
    """
    token = _called_from.set(_nearest(_is_user_code) or _called_from.get())
    try:
        yield
    finally:
        _called_from.reset(token)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line of the user's own code.

    Where none is on the stack, at the line that `from_here` has kept, else at the nearest line that
    is not ours.
    """
    line = _nearest(_is_user_code) or _called_from.get() or _nearest(_is_outside)
    if line is None:
        warnings.warn(message, category, stacklevel=2)
    else:
        warnings.warn_explicit(message, category, *line)


def _nearest(wanted: Callable[[FrameType], bool]) -> _Line | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not wanted(frame):
        frame = frame.f_back
    if frame is None:
        return None
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    return frame.f_code.co_filename, frame.f_lineno, _module(frame), registry


def _is_user_code(frame: FrameType) -> bool:
    return _is_outside(frame) and not frame.f_code.co_filename.startswith(_INSTALLED)


def _is_outside(frame: FrameType) -> bool:
    """Neither ours nor of the standard library."""
    first = _module(frame).partition(".")[0]
    frozen = frame.f_code.co_filename.startswith("<frozen")
    return not (first in _OURS or first in sys.stdlib_module_names or frozen)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "<unknown>"))
