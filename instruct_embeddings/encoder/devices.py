"""Dispatch to several devices: one worker process each, alive as long as its encoder.

Stands above the runner of one device, which every worker process has for itself.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.encoder.model_cache import ModelHandle
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.texts import (
    Request,
    TruncatedTexts,
    collect_truncations,
    warn_of_truncation,
)
from instruct_embeddings.errors import WorkerError

Array = NDArray[Any]
# Texts of one task: large enough to sort by length, small enough to balance the load.
CHUNK = 1024

_handle: ModelHandle | None = None


class DevicePool:
    """Processes that hold the model on one device each.

    They are spawned, never forked: a CUDA context does not survive a fork.

    Attributes:
        broken: A process stopped by itself; others have to be started.
    """

    def __init__(self, options: EncoderOptions) -> None:
        """Start one process for each of `options.devices`."""
        self.broken = self._closed = False
        context = multiprocessing.get_context("spawn")
        self._pools = [
            ProcessPoolExecutor(
                1,
                mp_context=context,
                initializer=_start,
                initargs=(replace(options, devices=(), device=device),),
            )
            for device in options.devices
        ]

    def embed(self, request: Request, out: Array, *, chunk: int = CHUNK) -> Iterator[int]:
        """Fill `out`, shape (1, n, dimension); yields the number of texts of each task.

        WorkerError where a process stopped, or was stopped by `close()`.
        """
        texts = request.texts
        size = max(1, min(chunk, -(-len(texts) // len(self._pools))))
        # Long texts first, spread evenly: no device is left with all of them at the end.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        tasks = [order[start : start + size] for start in range(0, len(order), size)]
        pending: dict[Future[tuple[Array, list[TruncatedTexts]]], list[int]] = {}
        truncated: list[TruncatedTexts] = []
        try:
            with self._named_failures():
                for number, rows in enumerate(tasks):
                    pool = self._pools[number % len(self._pools)]
                    task = replace(request, texts=[texts[i] for i in rows])
                    future = pool.submit(_encode, task, out.shape[-1], out.dtype)
                    pending[future] = rows
                # Not `as_completed`, which never wakes up for what `close()` cancels.
                while pending:
                    future, rows = next(iter(pending.items()))
                    out[0, rows], found = future.result()
                    del pending[future]
                    truncated += found
                    yield len(rows)
        finally:
            for future in pending:
                future.cancel()
        if truncated:
            warn_of_truncation(sum(count for count, _ in truncated), len(texts), truncated[0][1])

    def close(self) -> None:
        """Stop the processes."""
        self._closed = True
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as exc:
            self.broken = True
            self.close()
            raise WorkerError(
                "A worker process stopped, most often for lack of memory or because the calling "
                'script has no `if __name__ == "__main__":` guard, which spawned processes need. '
                "Lower batch_tokens, add the guard, or use device= instead of devices=. The next "
                "call starts new processes."
            ) from exc
        except (CancelledError, RuntimeError) as exc:
            if not self._closed:
                raise
            raise WorkerError(
                "The worker processes were stopped while they embedded texts: another thread "
                "closed the encoder, or one of them failed. Close it later, or try again."
            ) from exc


def _start(options: EncoderOptions) -> None:
    global _handle
    _handle = ModelHandle(options)


def _encode(
    request: Request, width: int, dtype: "np.dtype[Any]"
) -> tuple[Array, list[TruncatedTexts]]:
    from instruct_embeddings.encoder.runner import Runner

    if _handle is None:
        raise WorkerError("The worker was never started. Use `DevicePool`.")
    out = np.empty((1, len(request.texts), width), dtype=dtype)
    with collect_truncations() as truncated:
        for _ in Runner(_handle.load(), _handle.entry, _handle.options).embed(request, out):
            pass
    return out[0], truncated
