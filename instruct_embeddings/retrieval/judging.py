"""Where somebody else, such as the tracing of a host, gets to see that a judge is asked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from instruct_embeddings.retrieval.feedback import JudgeQuestion

AskJudge: TypeAlias = Callable[[], Sequence[float | None]]
"""Asks the judge: one score a text, or an error that says why there is none."""

JudgeWatcher: TypeAlias = Callable[["JudgeQuestion", AskJudge], Sequence[float | None]]
"""Asks the judge a question and hands its answer on; it is called in the thread of the judge."""

_WATCHER: ContextVar[JudgeWatcher | None] = ContextVar("judge_watcher", default=None)


@contextmanager
def judge_watched(watcher: JudgeWatcher) -> Iterator[None]:
    """Within it, searches of this thread or task ask their judge through a watcher."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def ask_watched(question: "JudgeQuestion", ask: AskJudge) -> Sequence[float | None]:
    """Ask through the watcher of this context, where there is one."""
    watcher = _WATCHER.get()
    return ask() if watcher is None else watcher(question, ask)
