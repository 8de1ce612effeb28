"""Threads for which no process waits at its end, and which a forked process does without.

The pools of the standard library are joined at exit, however long their work still takes: a fit
that its caller has given up, a call of a model that does not answer.
"""

import atexit
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")

# At exit threads are interrupted at their next line of Python and waited for so long: who is in the
# middle of torch when the interpreter goes may abort the process. Who waits for a server stays.
_LAST_SECONDS = 1.0

_threads: WeakSet[threading.Thread] = WeakSet()
_leaving = False


class MadeAnew(Protocol):
    """What holds locks or threads, neither of which are of use in a forked process."""

    def make_anew(self) -> None:
        """Forget them, and begin with none."""
        ...


_made_anew: WeakSet[Any] = WeakSet()


def make_anew_after_fork(one: MadeAnew) -> None:
    """Have it made anew in each process that is forked from this one."""
    _made_anew.add(one)


class DaemonPool:
    """Runs work in a few threads, which begin with the work and end when there is no more."""

    def __init__(self, most: int, name: str) -> None:
        """No thread runs yet.

        Args:
            most: Most threads at a time.
            name: Begins the names of the threads.
        """
        self._most, self._name = most, name
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget all work and threads: those of the process that this one was forked from."""
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = 0

    def submit(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Have it done by a thread.

        Returns:
            A future that ends in any case: where no thread can be started, with that error.
        """
        done: Future[T] = Future()
        with self._lock:
            self._waiting.append((done, work, arguments))
            begin = self._running < self._most
            self._running += begin
            number = self._running
        if begin:
            try:
                _start(self._work, f"{self._name}_{number}")
            except BaseException as exc:
                self._not_started(exc)
        return done

    def cancel(self) -> None:
        """Cancel all work that has not begun."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for done, _, _ in waiting:
            done.cancel()
            # Else who waits for several futures would wait for ever.
            done.set_running_or_notify_cancel()

    def _not_started(self, problem: BaseException) -> None:
        with self._lock:
            self._running -= 1
            # Others will see to it, where there are any.
            left = [] if self._running else list(self._waiting)
            if left:
                self._waiting.clear()
        for done, _, _ in left:
            if done.set_running_or_notify_cancel():
                done.set_exception(problem)

    def _work(self) -> None:
        while True:
            with self._lock:
                if _leaving or not self._waiting:
                    self._running -= 1
                    return
                done, work, arguments = self._waiting.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                found = work(*arguments)
            except BaseException as exc:
                done.set_exception(exc)
            else:
                done.set_result(found)
            # Not kept alive until the next work comes.
            del done, work, arguments


def within(seconds: float | None, call: Callable[..., T], *arguments: Any) -> T:
    """What a call returns, given up after a while; it goes on unheard, for it cannot be ended.

    Raises:
        TimeoutError: It took longer.
        Exception: What the call raised.
    """
    if seconds is None:
        return call(*arguments)
    results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def work() -> None:
        try:
            results.put((True, call(*arguments)))
        except BaseException as exc:
            results.put((False, exc))

    _start(work, "instruct-timed")
    try:
        good, found = results.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no reply within {seconds:g} seconds") from None
    if not good:
        raise found
    return found  # type: ignore[no-any-return]


def _start(work: Callable[[], None], name: str) -> None:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    _threads.add(thread)


def _leave() -> None:
    global _leaving
    _leaving = True
    threads = [one for one in _threads if one.is_alive()]
    for one in threads:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(one.ident or 0), ctypes.py_object(SystemExit)
        )
    last = time.monotonic() + _LAST_SECONDS
    for one in threads:
        one.join(max(0.0, last - time.monotonic()))


def _after_fork() -> None:
    _threads.clear()
    for one in list(_made_anew):
        one.make_anew()


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
