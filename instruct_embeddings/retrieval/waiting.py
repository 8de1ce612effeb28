"""Coroutines that wait for one fit together."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from instruct_embeddings.config import normalise_instruction

_FITS_AT_ONCE = 4


class SharedFits:
    """Lets any number of coroutines wait for fits without a thread for each.

    The pool of an event loop has few threads. If each coroutine that asks under a new instruction
    waited in one of them, those that ask under known instructions would wait for the fit as well.
    So a new instruction is fitted in a pool of its own, and whoever asks for it awaits that one.
    """

    def __init__(self, fit: Callable[[str], object]) -> None:
        """Nothing runs yet.

        Args:
            fit: Fits an instruction, or returns at once where it is known.
        """
        self._fit = fit
        self._running: dict[str, Future[None]] = {}
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def wait(self, instructions: Iterable[str]) -> None:
        """Return once all instructions are fitted; at once where they were before.

        A coroutine that is cancelled leaves the fit to the others.

        Raises:
            Exception: What a fit raised; the next call tries again.
        """
        forms = {normalise_instruction(text): text for text in instructions}
        new = [self._join(form, text) for form, text in forms.items() if form not in self._ready]
        for fitted in new:
            await asyncio.shield(_awaitable(fitted))

    def _join(self, form: str, instruction: str) -> "Future[None]":
        with self._lock:
            running = self._running.get(form)
            if running is None:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(_FITS_AT_ONCE, "instruct-fit")
                run = copy_context().run
                running = self._pool.submit(run, self._fit_one, form, instruction)
                self._running[form] = running
            return running

    def _fit_one(self, form: str, instruction: str) -> None:
        try:
            self._fit(instruction)
            self._ready.add(form)
        finally:
            with self._lock:
                del self._running[form]


def _awaitable(fitted: "Future[None]") -> "asyncio.Future[None]":
    found = asyncio.wrap_future(fitted)
    # Looked at here, since nobody may be left to do it: asyncio would log an error as forgotten.
    found.add_done_callback(lambda done: done.cancelled() or done.exception())
    return found
