"""Throughput: batches under a budget of tokens, halved when memory runs out."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.batching import TokenBatch, collate, length_sorted_batches
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.registry import LoadedModel
from instruct_embeddings.encoder.template import Ids
from instruct_embeddings.errors import EncoderMemoryError

# On MPS every new shape compiles kernels that stay in memory.
_MPS_MULTIPLE = 64
# Found by measuring MiniLM (`make bench-encode`): activations that stay in the cache of a processor
# count for more than large matrices.
_CPU_FLOAT32_TOKENS, _CPU_TOKENS, _GPU_TOKENS = 1024, 2048, 65536

_log = logging.getLogger(__name__)

Forward = Callable[[TokenBatch], Tensor]


@dataclass(frozen=True)
class Budget:
    """Limits of one forward pass; None means the default of the device.

    Attributes:
        batch_tokens: Most tokens.
        batch_size: Most rows.
        shared: Short passes over the same rows follow, one an instruction; they want more rows.
    """

    batch_tokens: int | None = None
    batch_size: int | None = None
    shared: bool = False

    def tokens(self, loaded: LoadedModel) -> int:
        """Most tokens, what memory was found to hold included."""
        asked = self.batch_tokens or _default_tokens(loaded, shared=self.shared)
        return asked if loaded.batch_tokens is None else min(asked, loaded.batch_tokens)


def _default_tokens(loaded: LoadedModel, *, shared: bool) -> int:
    if loaded.device != "cpu":
        return _GPU_TOKENS
    full = loaded.model.backbone.body.dtype == torch.float32 and not shared
    return _CPU_FLOAT32_TOKENS if full else _CPU_TOKENS


@dataclass(frozen=True)
class Engine:
    """Runs rows of token ids through a model.

    Attributes:
        loaded: The model.
        lock: Held during each forward pass.
        budget: Limits of one pass.
        side: Where shorter rows are filled.
    """

    loaded: LoadedModel
    lock: threading.RLock
    budget: Budget
    side: Side

    def run(
        self, rows: Sequence[Ids], forward: Forward, *, soft_prompts: int = 0, extra: int = 0
    ) -> Iterator[tuple[list[int], FloatArray]]:
        """Embeddings batch by batch.

        The next batch is launched before the result of the one before is fetched, so that a GPU
        need not wait.

        Args:
            rows: Token ids of n rows.
            forward: From a batch of b rows to (s, b, dimension).
            soft_prompts: Places to leave after each row.
            extra: Positions that the model appends to each row.

        Yields:
            Places of b rows, and their embeddings of shape (s, b, dimension).

        Raises:
            EncoderMemoryError: A single text does not fit into memory.
        """
        lengths = [len(row) + soft_prompts + extra for row in rows]
        waiting: list[tuple[list[int], Tensor]] = []
        for places in length_sorted_batches(
            lengths, self.budget.tokens(self.loaded), self.budget.batch_size
        ):
            for done in self._fitting(places, rows, soft_prompts, forward):
                waiting.append(done)
                if len(waiting) > 1:
                    yield _fetched(*waiting.pop(0))
        for done in waiting:
            yield _fetched(*done)

    def _fitting(
        self, places: list[int], rows: Sequence[Ids], soft_prompts: int, forward: Forward
    ) -> Iterator[tuple[list[int], Tensor]]:
        """One forward pass, or several smaller ones where memory runs out."""
        tokens = len(places) * (max(len(rows[place]) for place in places) + soft_prompts)
        known = self.loaded.batch_tokens
        # Batches were made before memory ran out; none is tried that is known not to fit.
        if len(places) == 1 or known is None or tokens <= known:
            result = self._try([rows[place] for place in places], soft_prompts, forward)
            if result is not None:
                yield places, result
                return
            if len(places) == 1:
                raise EncoderMemoryError(
                    f"Memory ran out on {self.loaded.device} for a single text of {tokens} tokens. "
                    "Use a smaller max_tokens, a smaller type (dtype), or another device."
                )
            self.loaded.batch_tokens = max(1, tokens // 2)
            _log.info("Memory ran out with %d tokens; batches are halved from now on", tokens)
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            yield from self._fitting(half, rows, soft_prompts, forward)

    def _try(self, rows: Sequence[Ids], soft_prompts: int, forward: Forward) -> Tensor | None:
        """One forward pass; None where memory ran out."""
        device = self.loaded.device
        try:
            batch = collate(
                rows,
                soft_prompts=soft_prompts,
                pad_id=self.loaded.template.pad_id,
                side=self.side,
                device=device,
                multiple=_MPS_MULTIPLE if device.startswith("mps") else 1,
            )
            with self.lock, torch.inference_mode():
                return forward(batch)
        except (MemoryError, RuntimeError) as exc:
            if not _is_out_of_memory(exc):
                raise
        # Outside the handler, whose exception keeps the tensors of the failed pass alive.
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        return None


def _fetched(places: list[int], result: Tensor) -> tuple[list[int], FloatArray]:
    return places, np.asarray(result.float().cpu().numpy(), dtype=np.float32)


def _is_out_of_memory(exc: BaseException) -> bool:
    if isinstance(exc, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The allocator of the CPU raises a plain RuntimeError.
    return "can't allocate memory" in str(exc) or "not enough memory" in str(exc)
