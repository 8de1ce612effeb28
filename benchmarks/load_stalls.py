"""How long an event loop was held up, and for how long Python collected garbage at a time."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

TICK = 0.005


@dataclass
class Stalls:
    """The longest ones, in milliseconds.

    Attributes:
        loop: Time for which the event loop did not run.
        garbage: Time that one collection took; no thread of Python runs meanwhile.
    """

    loop: float = 0.0
    garbage: float = 0.0
    _begun: float = 0.0

    def note(self, phase: str, about: dict[str, int]) -> None:
        """What Python calls before and after each collection."""
        del about
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            self.garbage = max(self.garbage, 1e3 * (time.perf_counter() - self._begun))

    async def tick(self) -> None:
        """Note how much later than asked for it wakes up."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            self.loop = max(self.loop, 1e3 * (time.perf_counter() - before - TICK))


@asynccontextmanager
async def watched() -> AsyncIterator[Stalls]:
    """The stalls of what runs inside."""
    stalls = Stalls()
    ticking = asyncio.create_task(stalls.tick())
    gc.callbacks.append(stalls.note)
    try:
        yield stalls
    finally:
        gc.callbacks.remove(stalls.note)
        ticking.cancel()
