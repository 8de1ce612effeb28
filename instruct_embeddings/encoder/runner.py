"""Texts to rows of embeddings on one device: tokenise, batch under a token budget, run, store."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.model_cache import CachedModel, LoadedModel
from instruct_embeddings.encoder.options import EncoderOptions, Side
from instruct_embeddings.encoder.precision import quantise
from instruct_embeddings.encoder.template import (
    Frame,
    Ids,
    TokenBatch,
    collate,
    length_sorted_batches,
)
from instruct_embeddings.encoder.texts import Request, one_warning, warn_of_truncation
from instruct_embeddings.errors import EncoderMemoryError

Array = NDArray[Any]
Forward = Callable[[TokenBatch], Tensor]

# Texts that are tokenised and sorted by length together: many enough for even batches, few enough
# for little memory, however many texts there are.
WINDOW = 8192
# On MPS every new shape compiles kernels that stay in memory.
_MPS_MULTIPLE = 64
# Found by measuring MiniLM (`make bench-encode`): activations that stay in the cache of a processor
# count for more than large matrices.
_CPU_FLOAT32_TOKENS, _CPU_TOKENS, _GPU_TOKENS = 1024, 2048, 65536
# A step of refinement behind a cache reads all weights and, twice, the matrix of token embeddings,
# however few rows there are.
_CPU_CACHED_TOKENS = 4096
# Instructions whose token ids are kept.
_FRAMES = 64

_log = logging.getLogger(__name__)


class Runner:
    """A loaded model under the options of one encoder."""

    def __init__(self, loaded: LoadedModel, entry: CachedModel, options: EncoderOptions) -> None:
        """Run a model of the cache; the lock of its entry is held during each forward pass."""
        self.loaded, self.entry, self.options = loaded, entry, options
        backbone = loaded.model.backbone
        side = options.padding_side or ("left" if backbone.causal else "right")
        self._side: Side = "right" if backbone.needs_right_padding else side
        # Of functions, not methods: a runner that held itself would not free its model at once.
        self.frame = lru_cache(_FRAMES)(partial(_frame, loaded, options))
        self._dimension = lru_cache(2)(partial(_dimension, loaded, options))

    def embed(self, request: Request, out: Array) -> Iterator[int]:
        """Fill `out`, shape (s, n, dimension); yields the number of texts of each batch."""
        instructed, truncated = request.instruction is not None, 0
        frame = self.frame(request.instruction, request.refine_steps)
        read: Forward = partial(self.loaded.model.generic, prompt=frame.prompt)
        if instructed:
            steps = request.refine_steps
            read = partial(self.loaded.model, refine_steps=steps, prompt=frame.prompt)

        def forward(batch: TokenBatch) -> Tensor:
            return read(batch)[-len(out) :]

        for start, ids in self._windows(request.texts, frame.room, frame.front):
            truncated += sum(len(text) > frame.room for text in ids)
            for indices, found in self.run(
                [frame.row(text) for text in ids],
                forward,
                soft_prompts=frame.soft_prompts,
                extra=request.refine_steps,
                tokens=self._steps_tokens(request.refine_steps),
            ):
                rows = self.finish(found, instructed=instructed)
                out[:, [start + i for i in indices]] = rows
                yield len(indices)
        if truncated:
            warn_of_truncation(truncated, len(request.texts), frame.room)

    def embed_grid(
        self,
        texts: Sequence[str],
        instructions: Sequence[str | None],
        refine_steps: int,
        out: Array,
    ) -> Iterator[int]:
        """Fill `out`, shape (instructions, n, dimension), with one warning.

        Yields the number of pairs of text and instruction in each batch.
        """
        generic = [row for row, one in enumerate(instructions) if one is None]
        chosen = [row for row, one in enumerate(instructions) if one is not None]
        frames = [self.frame(instructions[row], refine_steps) for row in chosen]
        with one_warning(len(texts)):
            if any(frame.front for frame in frames):
                for row in chosen:
                    request = Request(texts, instructions[row], refine_steps)
                    yield from self.embed(request, out[row : row + 1])
            elif frames:
                run = self._texts_once if self.loaded.model.backbone.causal else self._pairs
                room, truncated = min(frame.room for frame in frames), 0
                for start, ids in self._windows(texts, max(frame.room for frame in frames)):
                    truncated += sum(len(text) > room for text in ids)
                    for rows, indices, found in run(ids, frames, refine_steps):
                        columns = [start + i for i in indices]
                        out[np.array(chosen)[rows], columns] = self.finish(found, instructed=True)
                        yield found[..., 0].size
                warn_of_truncation(truncated, len(texts), room)
            for row in generic[:1]:
                for done in self.embed(Request(texts, None), out[row : row + 1]):
                    yield done * len(generic)
                out[generic] = out[row]

    def run(
        self,
        rows: Sequence[Ids],
        forward: Forward,
        *,
        soft_prompts: int = 0,
        extra: int = 0,
        tokens: int | None = None,
    ) -> Iterator[tuple[list[int], FloatArray]]:
        """Embeddings of rows of token ids, batch by batch.

        The next batch is launched before the result of the one before is fetched, so that a GPU
        need not wait. Yields the indices of b rows and their embeddings, shape (s, b, dimension).
        `extra` positions are appended to each row by the model; `tokens` are the most of a pass on
        a CPU, where the options set none.
        """
        lengths = [len(row) + soft_prompts + extra for row in rows]
        launched: tuple[list[int], Tensor] | None = None
        budget = self._budget(tokens)
        for batch in length_sorted_batches(lengths, budget, self.options.batch_size):
            for done in self._fitting(batch, rows, soft_prompts, forward):
                if launched is not None:
                    yield _fetched(*launched)
                launched = done
        if launched is not None:
            yield _fetched(*launched)

    def _steps_tokens(self, refine_steps: int) -> int | None:
        """Most tokens of a pass on a CPU, where steps of refinement go on from a cache."""
        cached = refine_steps and self.loaded.model.backbone.can_cache
        return _CPU_CACHED_TOKENS if cached else None

    def _budget(self, tokens: int | None) -> int:
        loaded = self.loaded
        default = _GPU_TOKENS
        if loaded.device == "cpu":
            full = loaded.model.backbone.body.dtype == torch.float32
            default = tokens or (_CPU_FLOAT32_TOKENS if full else _CPU_TOKENS)
        budget = self.options.batch_tokens or default
        return budget if loaded.batch_tokens is None else min(budget, loaded.batch_tokens)

    def _fitting(
        self, batch: list[int], rows: Sequence[Ids], soft_prompts: int, forward: Forward
    ) -> Iterator[tuple[list[int], Tensor]]:
        """One forward pass, or several smaller ones where memory runs out."""
        loaded = self.loaded
        tokens = len(batch) * (max(len(rows[i]) for i in batch) + soft_prompts)
        # Batches were made before memory ran out; none is tried that is known not to fit.
        if len(batch) == 1 or loaded.batch_tokens is None or tokens <= loaded.batch_tokens:
            result = self._try([rows[i] for i in batch], soft_prompts, forward)
            if result is not None:
                yield batch, result
                return
            if len(batch) == 1:
                raise EncoderMemoryError(
                    f"Memory ran out on {loaded.device} for a single text of {tokens} tokens. "
                    "Use a smaller max_tokens, a smaller dtype, or another device."
                )
            loaded.batch_tokens = max(1, tokens // 2)
            _log.info("Memory ran out with %d tokens; batches are halved from now on", tokens)
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            yield from self._fitting(half, rows, soft_prompts, forward)

    def _try(self, rows: Sequence[Ids], soft_prompts: int, forward: Forward) -> Tensor | None:
        """One forward pass; None where memory ran out."""
        device = self.loaded.device
        try:
            batch = collate(
                rows,
                soft_prompts=soft_prompts,
                pad_id=self.loaded.template.pad_id,
                side=self._side,
                device=device,
                multiple=_MPS_MULTIPLE if device.startswith("mps") else 1,
            )
            cut = self.loaded.model.backbone.truncated(self.options.truncate_layers)
            with self.entry.lock, torch.inference_mode(), cut:
                return forward(batch)
        except (MemoryError, RuntimeError) as exc:
            if not _is_out_of_memory(exc):
                raise
        # Outside the handler, whose exception keeps the tensors of the failed pass alive.
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        return None

    def _windows(
        self, texts: Sequence[str], room: int, front: str = ""
    ) -> Iterator[tuple[int, list[Ids]]]:
        """First index and token ids of each window; the next one is tokenised meanwhile.

        Of texts that are longer than `room` tokens, no more is read than shows it.
        """

        def tokenised(start: int) -> list[Ids]:
            window = texts[start : start + WINDOW]
            written = [front + text for text in window] if front else window
            return self.loaded.template.tokenise(written, room=room)

        if len(texts) <= WINDOW:
            yield 0, tokenised(0)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="instruct-embeddings-tokens") as ahead:
            coming = ahead.submit(tokenised, 0)
            for start in range(0, len(texts), WINDOW):
                ids = coming.result()
                if start + WINDOW < len(texts):
                    coming = ahead.submit(tokenised, start + WINDOW)
                yield start, ids

    def _texts_once(
        self, ids: Sequence[Ids], frames: Sequence[Frame], refine_steps: int
    ) -> Iterator[tuple[Any, Any, Array]]:
        """Texts that fit under every instruction are read once; longer ones once for each."""
        room, head = min(frame.room for frame in frames), frames[0].head
        kept = [i for i, text in enumerate(ids) if len(text) <= room and (head or text)]
        longest = max(len(frame.tail) + frame.soft_prompts for frame in frames) + refine_steps
        tails = [frame.tail for frame in frames]
        forward = partial(self.loaded.model.grid, tails=tails, refine_steps=refine_steps)
        rows = [[*head, *ids[i]] for i in kept]
        # Short passes over the same rows follow, one an instruction; they want more rows.
        tokens = self._steps_tokens(refine_steps) or _CPU_TOKENS
        for batch, found in self.run(rows, forward, extra=longest, tokens=tokens):
            yield np.arange(len(frames))[:, None], [kept[i] for i in batch], found
        rest = sorted(set(range(len(ids))) - set(kept))
        for chosen, batch, found in self._pairs([ids[i] for i in rest], frames, refine_steps):
            yield chosen, [rest[i] for i in batch], found

    def _pairs(
        self, ids: Sequence[Ids], frames: Sequence[Frame], refine_steps: int
    ) -> Iterator[tuple[Any, Any, Array]]:
        """Every pair of text and instruction is a row of its own, all in common batches."""
        pairs = [(frame, i) for frame in range(len(frames)) for i in range(len(ids))]
        for batch, found in self.run(
            [frames[frame].row(ids[i]) for frame, i in pairs],
            partial(self.loaded.model, refine_steps=refine_steps),
            soft_prompts=self.loaded.model.settings.soft_prompts,
            extra=refine_steps,
            tokens=self._steps_tokens(refine_steps),
        ):
            chosen = [pairs[row] for row in batch]
            yield [frame for frame, _ in chosen], [i for _, i in chosen], found[-1]

    def finish(self, found: Array, *, instructed: bool) -> Array:
        """Dimension, length and precision that were asked for."""
        kept = torch.from_numpy(found)[..., : self._dimension(instructed)]
        if self.options.normalize and self.loaded.model.settings.normalize:
            kept = torch.nn.functional.normalize(kept, dim=-1)
        if self.options.precision == "float32":
            return np.asarray(kept.numpy())
        rows = kept.reshape(-1, kept.shape[-1]).numpy()
        return quantise(rows, self.options.precision).reshape(*found.shape[:-1], -1)


def _frame(
    loaded: LoadedModel,
    options: EncoderOptions,
    instruction: str | None,
    refine_steps: int = 0,
) -> Frame:
    """What stands around texts under an instruction; None for generic embeddings."""
    settings = loaded.model.settings
    saved = settings.longest(instructed=instruction is not None)
    return loaded.template.frame(
        instruction,
        soft_prompts=settings.soft_prompts,
        # A checkpoint trained on short rows does not cut the backbone's own input.
        max_tokens=min(options.max_tokens or saved, max(saved, settings.max_tokens)),
        refine_steps=refine_steps,
    )


def _dimension(loaded: LoadedModel, options: EncoderOptions, instructed: bool) -> int | None:
    """Numbers that are kept of an embedding; None for all."""
    follows = loaded.model.settings.follows_folder(instructed)
    return options.truncate_dim or (loaded.model.folder.truncate_dim if follows else None)


def _fetched(batch: list[int], result: Tensor) -> tuple[list[int], FloatArray]:
    return batch, np.asarray(result.float().cpu().numpy(), dtype=np.float32)


def _is_out_of_memory(exc: BaseException) -> bool:
    if isinstance(exc, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The allocator of the CPU raises a plain RuntimeError.
    return "can't allocate memory" in str(exc) or "not enough memory" in str(exc)
