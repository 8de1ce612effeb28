"""A warning points at the line of the user's code."""

import asyncio
import contextvars
import re
import site
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import currentframe
from pathlib import Path

import pytest

import instruct_embeddings
from instruct_embeddings._warnings import from_here, warn

ROOT = Path(instruct_embeddings.__file__).parents[1]


def as_module(name: str, body: str) -> dict[str, object]:
    """The namespace of some code that says it is of a module."""
    space: dict[str, object] = {"__name__": name, "warn": warn}
    # What is not ours is a host, which is installed.
    folder = "" if name.startswith("instruct_embeddings") else f"{site.getsitepackages()[0]}/"
    exec(compile(body, f"{folder}{name}.py", "exec"), space)
    return space


def through(*modules: str) -> Callable[[Callable[[], None]], None]:
    """Calls a function through a frame of each module."""

    def call(inner: Callable[[], None]) -> None:
        for name in modules:
            space = as_module(name, "def call(inner):\n    return lambda: inner()")
            inner = space["call"](inner)  # type: ignore[operator]
        inner()

    return call


def line() -> int:
    frame = currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def caught(call: Callable[[], object]) -> tuple[str, int]:
    with pytest.warns(UserWarning, match="look here") as found:
        call()
    return found[0].filename, found[0].lineno


OURS = as_module("instruct_embeddings.deep", "def say():\n    warn('look here')")["say"]


@pytest.mark.parametrize(
    "between",
    [
        (),
        ("instruct_embeddings.retrieval.retriever",),
        ("langchain_instruct_embeddings.retrievers", "langchain_core.retrievers"),
        ("llama_index_instruct_embeddings.retriever", "llama_index.core.base", "contextlib"),
        ("instruct_embeddings.x", "pydantic.main", "functools", "langgraph.pregel"),
    ],
)
def test_the_nearest_line_that_is_nobody_elses(between: tuple[str, ...]) -> None:
    def here() -> None:
        through(*between)(OURS)  # type: ignore[arg-type]

    file, at = caught(lambda: here())
    # The frame of `through` itself, which is of this file.
    assert file == __file__
    assert abs(at - line()) < 60


def test_the_very_line() -> None:
    def here() -> int:
        OURS()  # type: ignore[operator]
        return line() - 1

    wanted: list[int] = []
    assert caught(lambda: wanted.append(here())) == (__file__, wanted[0])


def test_in_a_thread_the_line_that_was_kept() -> None:
    def work(ran: Callable[[], None]) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, ran).result()

    def here() -> int:
        with from_here():
            work(OURS)  # type: ignore[arg-type]
            return line() - 2

    wanted: list[int] = []
    assert caught(lambda: wanted.append(here())) == (__file__, wanted[0])


async def test_after_an_await_the_line_that_awaits() -> None:
    async def asks() -> None:
        with from_here():
            await asyncio.to_thread(OURS)  # type: ignore[arg-type]

    with pytest.warns(UserWarning, match="look here") as found:
        await asks()
    assert found[0].filename == __file__


def test_without_any_line_of_a_user_it_warns_all_the_same() -> None:
    def elsewhere() -> None:
        thread = threading.Thread(target=OURS)  # type: ignore[arg-type]
        thread.start()
        thread.join()

    with pytest.warns(UserWarning, match="look here"):
        elsewhere()


def test_once_a_line_unless_filters_say_otherwise() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            OURS()  # type: ignore[operator]
        OURS()  # type: ignore[operator]
    assert len(found) == 2


def test_all_warnings_are_given_so() -> None:
    used = [
        f"{file.relative_to(ROOT)}"
        for folder in ("instruct_embeddings", "integrations")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"warnings\.warn\(|stacklevel", file.read_text(encoding="utf-8"))
    ]
    assert used == ["instruct_embeddings/_warnings.py"]
