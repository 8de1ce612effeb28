"""Several devices: one worker process each, alive as long as its encoder."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.texts import Cut, collected_cuts, warn_of_cut_texts
from instruct_embeddings.errors import WorkerError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.encoder import InstructEncoder

Array = NDArray[Any]
# Texts of one piece of work: large enough to sort by length, small enough to share out evenly.
CHUNK = 1024

_encoder: "InstructEncoder | None" = None


class Workers:
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

    def embed(
        self, texts: Sequence[str], call: dict[str, Any], out: Array, *, chunk: int = CHUNK
    ) -> Iterator[int]:
        """Fill `out`, shape (n, dimension), piece by piece.

        Args:
            texts: n texts.
            call: Keyword arguments of `InstructEncoder.encode`.
            out: Where to.
            chunk: Texts of one piece.

        Yields:
            Number of texts of each piece.

        Raises:
            WorkerError: A process stopped, or was stopped by `close()`.
        """
        size = max(1, min(chunk, -(-len(texts) // len(self._pools))))
        # Long texts first, spread evenly: no device is left with all of them at the end.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        pieces = [order[start : start + size] for start in range(0, len(order), size)]
        pending: dict[Future[tuple[Array, list[Cut]]], list[int]] = {}
        cuts: list[Cut] = []
        try:
            with self._named_failures():
                for number, piece in enumerate(pieces):
                    pool = self._pools[number % len(self._pools)]
                    pending[pool.submit(_encode, [texts[place] for place in piece], call)] = piece
                # Not `as_completed`, which never wakes up for what `close()` cancels.
                while pending:
                    future, piece = next(iter(pending.items()))
                    out[piece], cut = future.result()
                    del pending[future]
                    cuts += cut
                    yield len(piece)
        finally:
            for future in pending:
                future.cancel()
        if cuts:
            warn_of_cut_texts(sum(cut for cut, _ in cuts), len(texts), cuts[0][1])

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
    from instruct_embeddings.encoder.encoder import InstructEncoder

    global _encoder
    _encoder = InstructEncoder(options)


def _encode(texts: list[str], call: dict[str, Any]) -> tuple[Array, list[Cut]]:
    if _encoder is None:
        raise WorkerError("The worker was never started. Use `Workers`.")
    with collected_cuts() as cuts:
        return _encoder.encode(texts, **call), cuts
