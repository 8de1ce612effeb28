"""Fits in background threads, which any number of coroutines may await."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any

from instruct_embeddings._threads import DaemonPool, Recent, make_anew_after_fork
from instruct_embeddings.config import normal_form

_FITS_AT_ONCE = 4
_KEPT = 1024
_TRY_AGAIN_AFTER = 60.0  # seconds
_log = logging.getLogger(__name__)


class BackgroundFits:
    """Fits instructions in threads of its own; coroutines wait without a thread for each.

    The pool of an event loop has few threads. If each coroutine with a new instruction waited in
    one of them, those with known instructions would wait for the fit as well. What need not be
    fitted is looked up in another thread, where no fit is in its way.

    No process waits at its end for a fit that nobody waits for any more, and a forked process does
    not wait for the fits of the one it comes from.
    """

    def __init__(self, fit: Callable[[str], object], find: Callable[[str], object]) -> None:
        """Nothing runs yet; `find` gives something true where nothing has to be fitted."""
        self._fit = fit
        self._find = find
        self._ready: Recent[str, bool] = Recent(_KEPT)
        self._failed: Recent[str, float] = Recent(_KEPT)
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget what runs; what is ready stays."""
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._looking = DaemonPool(1, "instruct-find")
        self._fitting = DaemonPool(_FITS_AT_ONCE, "instruct-fit")

    async def wait(self, instructions: Iterable[str]) -> None:
        """Return once all instructions are fitted; at once where they were before.

        A coroutine that is cancelled leaves the fit to the others.

        Raises:
            Exception: What a fit raised; the next call tries again.
        """
        forms = {normal_form(text): text for text in instructions}
        new = [self._join(form, text) for form, text in forms.items() if form not in self._ready]
        for fitted in new:
            await asyncio.shield(_awaitable(fitted))

    def start(self, instruction: str) -> None:
        """Fit an instruction, unless that is under way or has failed within the last minute."""
        form = normal_form(instruction)
        failed = self._failed.get(form)
        lately = failed is not None and time.monotonic() - failed < _TRY_AGAIN_AFTER
        if not lately and form not in self._running:
            self._join(form, instruction).add_done_callback(partial(self._note, form))

    def _note(self, form: str, done: "Future[None]") -> None:
        if problem := done.exception():
            self._failed.put(form, time.monotonic())
            _log.warning("An instruction could not be fitted in the background: %s", problem)

    def _join(self, form: str, instruction: str) -> "Future[None]":
        with self._lock:
            running = self._running.get(form)
            if running is not None:
                return running
            running = self._running[form] = Future()
            running.set_running_or_notify_cancel()  # nobody can cancel it for the others
        looked = self._looking.submit(copy_context().run, self._look_up, form, instruction)
        looked.add_done_callback(partial(self._looked, form))
        return running

    def _look_up(self, form: str, instruction: str) -> bool:
        """Whether it is ready; otherwise a fit has begun."""
        if self._find(instruction):
            return True
        fitted = self._fitting.submit(copy_context().run, self._fit, instruction)
        fitted.add_done_callback(partial(self._end, form))
        return False

    def _looked(self, form: str, looked: "Future[bool]") -> None:
        if looked.exception() is not None or looked.result():
            self._end(form, looked)

    def _end(self, form: str, done: "Future[Any]") -> None:
        problem = done.exception()
        with self._lock:
            running = self._running.pop(form)
            if problem is None:
                self._ready.put(form, True)
        if problem is None:
            running.set_result(None)
        else:
            running.set_exception(problem)


def _awaitable(fitted: "Future[None]") -> "asyncio.Future[None]":
    found = asyncio.wrap_future(fitted)
    # Looked at here, since nobody may be left to do it: asyncio would log an error as forgotten.
    found.add_done_callback(lambda done: done.cancelled() or done.exception())
    return found
