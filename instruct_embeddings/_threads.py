"""Daemon threads, the limit of fits to one thread, and caches that threads share.

No process waits for a daemon thread at its exit, and a forked process starts without. The pools of
the standard library are joined at exit, however long their work still takes: a fit that its caller
has abandoned, a call of a model that does not answer.
"""

import atexit
import ctypes
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")

# At exit, threads are interrupted at their next line of Python and joined for this long, since one
# that is inside torch at the end may abort the process. One that waits for a server is left.
_LAST_SECONDS = 1.0

_threads: WeakSet[threading.Thread] = WeakSet()
_leaving = False

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class MadeAnew(Protocol):
    """Holds locks or threads, which are of no use in a forked process."""

    def make_anew(self) -> None:
        """Replace the locks and forget the threads."""
        ...


_made_anew: WeakSet[Any] = WeakSet()


def make_anew_after_fork(one: MadeAnew) -> None:
    """Call `make_anew` in each process that is forked from this one."""
    _made_anew.add(one)


class DaemonPool:
    """Runs work in at most `most` threads, which start with the work and end without more."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget all work and threads, which belong to the parent process."""
        self._lock = threading.Lock()
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running = 0

    def submit(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """A future of the work, which ends in any case: with an error if no thread can start."""
        done: Future[T] = Future()
        with self._lock:
            self._queue.append((done, work, arguments))
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
            queued, self._queue = self._queue, deque()
        for done, _, _ in queued:
            done.cancel()
            # Otherwise `wait` for several futures would never return.
            done.set_running_or_notify_cancel()

    def _not_started(self, problem: BaseException) -> None:
        with self._lock:
            self._running -= 1
            # Other threads do the work, where there are any.
            left = [] if self._running else list(self._queue)
            if left:
                self._queue.clear()
        for done, _, _ in left:
            if done.set_running_or_notify_cancel():
                done.set_exception(problem)

    def _work(self) -> None:
        while True:
            with self._lock:
                if _leaving or not self._queue:
                    self._running -= 1
                    return
                done, work, arguments = self._queue.popleft()
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
    """The result of a call, abandoned with a `TimeoutError` after some seconds; it runs on."""
    if seconds is None:
        return call(*arguments)
    done = DaemonPool(1, "instruct-timed").submit(call, *arguments)
    if not wait([done], seconds).done:
        raise TimeoutError(f"no reply within {seconds:g} seconds")
    return done.result()


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


_limit_lock = threading.Lock()
_limited = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the kernels of numpy and torch on the calling thread while any fit is under way.

    The matrices of a fit are so small that a second thread gains little on an idle machine; on a
    busy one the threads wait for each other and a fit takes many times longer. The limit is
    process-wide, so overlapping fits have it in common and the last one lifts it.
    """
    from threadpoolctl import threadpool_limits

    global _limited, _limits
    with _limit_lock:
        if _limited == 0:
            _limits = threadpool_limits(limits=1)
        _limited += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limited -= 1
            if _limited == 0:
                _limits.restore_original_limits()


class Lately(Generic[T]):
    """Keeps an answer for some seconds, for all threads; 0 keeps none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: tuple[float, T] | None = None

    def get(self, ask: Callable[[], T]) -> T:
        """The answer, asked for where it is older; what `ask` raises is not kept."""
        known, now = self._known, time.monotonic()
        if known is None or now - known[0] >= self._seconds:
            known = self._known = now, ask()
        return known[1]

    def forget(self) -> None:
        """Ask at the next call."""
        self._known = None


class Recent(Generic[K, V]):
    """The values that were put or got last, at most `most`. Threads may use one together."""

    def __init__(self, most: int) -> None:
        """Nothing is kept yet."""
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """A lock of its own, after a fork; what is kept stays."""
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value of a key, which is then the last one used; None where it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: K, value: V) -> V:
        """Keep a value, and drop the least recently used where there are too many."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def values(self) -> list[V]:
        """All that is kept; none of it counts as used."""
        with self._lock:
            return list(self._kept.values())

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)
