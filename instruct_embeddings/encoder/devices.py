"""Dispatch to several devices: one worker process each, alive as long as its encoder."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from instruct_embeddings.encoder.encoder import InstructEncoder
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

# Of a worker process.
_encoder = InstructEncoder()


class DevicePool:
    """Processes that hold the model on one device each.

    They are spawned, never forked: a CUDA context does not survive a fork.

    Attributes:
        broken: A process stopped by itself; others have to be started.
    """

    def __init__(self, options: EncoderOptions) -> None:
        self.broken = self._closed = False
        self._count = len(options.devices)
        context = multiprocessing.get_context("spawn")
        devices = context.SimpleQueue()
        for device in options.devices:
            devices.put(device)
        self._pool = ProcessPoolExecutor(
            self._count, mp_context=context, initializer=_start, initargs=(options, devices)
        )

    def embed(self, request: Request, out: Array, *, chunk: int = CHUNK) -> Iterator[int]:
        """Fill `out`, shape (1, n, dimension); yields the number of texts of each task.

        WorkerError where a process stopped, or was stopped by `close()`.
        """
        texts = request.texts
        size = max(1, min(chunk, -(-len(texts) // self._count)))
        # Long texts first, spread evenly: no device is left with all of them at the end.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        tasks = [order[start : start + size] for start in range(0, len(order), size)]
        requests = [replace(request, texts=[texts[i] for i in rows]) for rows in tasks]
        truncated: list[TruncatedTexts] = []
        try:
            found = self._pool.map(_encode, requests)
            for rows, (embedded, cut) in zip(tasks, found, strict=True):
                out[0, rows] = embedded
                truncated += cut
                yield len(rows)
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
        if truncated:
            warn_of_truncation(sum(count for count, _ in truncated), len(texts), truncated[0][1])

    def close(self) -> None:
        """Stop the processes."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _start(options: EncoderOptions, devices: Any) -> None:
    global _encoder
    _encoder = InstructEncoder(replace(options, devices=(), device=devices.get()))


def _encode(request: Request) -> tuple[Array, list[TruncatedTexts]]:
    with collect_truncations() as truncated:
        found = _encoder.encode(
            request.texts, instruction=request.instruction, refine_steps=request.refine_steps
        )
    return found, truncated
