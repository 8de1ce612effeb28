import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.retrieval.fitting import BackgroundFits

SECONDS = 30


class Fits:
    """Fits that last until they are let go.

    Attributes:
        asked: Instructions fitted, in order.
        go: Lets all fits end.
        problem: Raised at the end of a fit, if set.
        known: Instructions for which nothing has to be fitted.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()
        self.problem: Exception | None = None
        self.known: set[str] = set()

    def find(self, instruction: str) -> bool:
        return instruction in self.known

    def fit(self, instruction: str) -> None:
        self.asked.append(instruction)
        assert self.go.wait(SECONDS)
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def fits() -> Fits:
    return Fits()


async def started(fits: Fits, number: int = 1) -> None:
    """Until so many fits have begun."""
    while len(fits.asked) < number:
        await asyncio.sleep(0.001)


async def test_a_hundred_coroutines_wait_for_one_fit_and_no_thread_of_the_loop(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    waiting = [asyncio.create_task(shared.wait(["What colour?"])) for _ in range(100)]
    await started(fits)
    # The pool of the loop is free, whatever its size.
    await asyncio.wait_for(asyncio.to_thread(int), SECONDS)
    assert not any(task.done() for task in waiting)
    fits.go.set()
    await asyncio.gather(*waiting)
    assert fits.asked == ["What colour?"]


async def test_what_was_fitted_is_not_waited_for_again(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    fits.go.set()
    await shared.wait(["What colour?", "  what COLOUR "])
    fits.go.clear()
    await asyncio.wait_for(shared.wait(["What colour"]), SECONDS)
    assert fits.asked == ["  what COLOUR "]
    await shared.wait([])


async def test_what_is_known_waits_for_no_fit(fits: Fits) -> None:
    """As many fits run as there are threads for, and more of them wait."""
    shared = BackgroundFits(fits.fit, fits.find)
    waiting = [asyncio.create_task(shared.wait([f"What {number}?"])) for number in range(9)]
    await started(fits, 4)
    fits.known.add("What colour?")
    await asyncio.wait_for(shared.wait(["What colour?"]), SECONDS)
    assert not any(task.done() for task in waiting)
    fits.go.set()
    await asyncio.gather(*waiting)
    assert "What colour?" not in fits.asked


async def test_a_problem_of_looking_up_is_heard_of_and_the_next_one_tries_again(
    fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = BackgroundFits(fits.fit, lambda text: fits.find(text))
    fits.go.set()
    with monkeypatch.context() as patch:
        patch.setattr(fits, "known", None)
        with pytest.raises(TypeError):
            await shared.wait(["What colour?"])
    await shared.wait(["What colour?"])
    assert fits.asked == ["What colour?"]


async def test_several_instructions_are_fitted_side_by_side(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    waiting = asyncio.create_task(shared.wait(["What colour?", "What shape?"]))
    await started(fits, 2)
    fits.go.set()
    await waiting
    assert sorted(fits.asked) == ["What colour?", "What shape?"]


async def test_all_who_wait_hear_of_a_problem_and_the_next_one_tries_again(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    fits.problem = GuideError("out of order")
    waiting = [asyncio.create_task(shared.wait(["What colour?"])) for _ in range(3)]
    await started(fits)
    fits.go.set()
    assert await asyncio.gather(*waiting, return_exceptions=True) == [fits.problem] * 3
    fits.problem = None
    await shared.wait(["What colour?"])
    assert len(fits.asked) == 2


async def test_who_is_cancelled_leaves_the_fit_to_the_others(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    one, other = (asyncio.create_task(shared.wait(["What colour?"])) for _ in range(2))
    await started(fits)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    fits.go.set()
    await other
    assert fits.asked == ["What colour?"]


async def test_a_problem_that_nobody_waits_for_is_no_noise(
    fits: Fits, caplog: pytest.LogCaptureFixture
) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    fits.problem = GuideError("out of order")
    alone = asyncio.create_task(shared.wait(["What colour?"]))
    await started(fits)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    fits.go.set()
    with pytest.raises(GuideError):
        await shared.wait(["What colour?"])
    gc.collect()
    assert caplog.text == ""


async def test_a_fit_sees_the_context_of_who_asked_first(fits: Fits) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []
    tenant.set("a")
    shared = BackgroundFits(lambda text: seen.append(tenant.get()), lambda text: None)
    await shared.wait(["What colour?"])
    assert seen == ["a"]


def test_two_event_loops_share_a_fit(fits: Fits) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    threads = [
        threading.Thread(target=lambda: asyncio.run(shared.wait(["What colour?"])))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    fits.go.set()
    for thread in threads:
        thread.join(SECONDS)
    assert fits.asked == ["What colour?"]


async def test_a_thread_that_cannot_start_is_an_error_once(
    fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = BackgroundFits(fits.fit, fits.find)
    fits.go.set()
    started, failed = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        if self.name.startswith("instruct-fit") and not failed:
            failed.append(self)
            raise RuntimeError("can't start new thread")
        started(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await asyncio.wait_for(shared.wait(["What colour?"]), SECONDS)
        await asyncio.wait_for(shared.wait(["What colour?"]), SECONDS)
    assert (len(failed), fits.asked) == (1, ["What colour?"])


ABANDONED = """
import asyncio, time
from instruct_embeddings.retrieval.fitting import BackgroundFits

async def main():
    shared = BackgroundFits(lambda text: time.sleep(120), lambda text: None)
    try:
        await asyncio.wait_for(shared.wait(["What colour?"]), 0.2)
    except asyncio.TimeoutError:
        print("given up")

asyncio.run(main())
"""


def test_no_process_waits_for_a_fit_that_was_given_up() -> None:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED], timeout=100, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")
    assert time.monotonic() - begin < 60


FORKED = """
import asyncio, os, sys, threading
from instruct_embeddings.retrieval.fitting import BackgroundFits

asked = []
go = threading.Event()
shared = BackgroundFits(lambda text: go.wait(60), lambda text: text == "known")
asyncio.run(shared.wait(["known"]))
threading.Thread(target=lambda: asyncio.run(shared.wait(["new"]))).start()
while "new" not in shared._running:
    pass
child = os.fork()
if child == 0:
    go.set()
    asyncio.run(asyncio.wait_for(shared.wait(["known", "new"]), 30))
    os._exit(0)
go.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_waits_for_no_fit_of_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], timeout=100, check=False)
    assert done.returncode == 0
