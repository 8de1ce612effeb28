"""Requests that wait together are encoded together."""

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np


class FullError(Exception):
    """More texts wait than may."""


class ClosedError(Exception):
    """The server shuts down."""


@dataclass
class _Waiting:
    texts: list[str]
    kind: tuple[str | None, int | None]  # instruction and dimensions, which a batch has in common
    done: asyncio.Future


class MicroBatcher:
    """Encodes the texts of concurrent requests in common batches, one batch at a time.

    While a batch is encoded the next one gathers, so that nobody waits for others on an idle
    server. The request that waits longest says under which instruction the next batch is encoded;
    all that ask for the same go along.

    Args:
        encode: `await encode(texts, instruction, dimensions)` gives an array of shape (n, d).
        most_texts: In a batch; a longer request is a batch of its own.
        most_waiting: Texts that may wait. Those that are being encoded no longer wait.
    """

    def __init__(self, encode, *, most_texts=256, most_waiting=4096):
        self._encode = encode
        self._most_texts, self._most_waiting = most_texts, most_waiting
        self._queue = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._worker = asyncio.create_task(self._work())
        self.batches = 0  # encoded so far

    @property
    def waiting(self):
        """Number of texts that wait."""
        return sum(len(one.texts) for one in self._queue)

    async def embed(self, texts, instruction=None, dimensions=None):
        """Embeddings, shape (n, d).

        Raises:
            FullError: Too many texts wait already.
            ClosedError: After `close()`.
        """
        if self._closing:
            raise ClosedError
        if self.waiting + len(texts) > self._most_waiting:
            raise FullError
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(texts, (instruction, dimensions), done))
        self._wake.set()
        return await done

    async def close(self):
        """Take nothing more, encode what waits, and end."""
        self._closing = True
        self._wake.set()
        await self._worker

    async def _work(self):
        while True:
            await self._wake.wait()
            while batch := self._next():
                await self._run(batch)
            self._wake.clear()
            if self._closing:
                return

    def _next(self):
        """The request that waits longest, and those that can be encoded with it."""
        # The server cancels those that took too long when it was told to stop.
        alive = [one for one in self._queue if not one.done.done()]
        batch, kept, texts = [], [], 0
        for one in alive:
            room = not batch or texts + len(one.texts) <= self._most_texts
            if room and (not batch or one.kind == batch[0].kind):
                batch.append(one)
                texts += len(one.texts)
            else:
                kept.append(one)
        self._queue = deque(kept)
        return batch

    async def _run(self, batch):
        texts = [text for one in batch for text in one.texts]
        self.batches += 1
        try:
            rows = await self._encode(texts, *batch[0].kind)
        except Exception as error:  # each request answers for itself
            for one in batch:
                if not one.done.done():
                    one.done.set_exception(error)
            return
        ends = np.cumsum([len(one.texts) for one in batch])
        for one, part in zip(batch, np.split(rows, ends[:-1]), strict=True):
            if not one.done.done():
                one.done.set_result(part)
