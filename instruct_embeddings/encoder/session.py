"""One call of an encoder: texts to tokens to batches to rows of the result."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instruct_embeddings.encoder.batching import TokenBatch
from instruct_embeddings.encoder.engine import Budget, Engine
from instruct_embeddings.encoder.grid import SharedTexts
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.precision import quantise
from instruct_embeddings.encoder.registry import LoadedModel, Slot
from instruct_embeddings.encoder.template import Frame, Ids
from instruct_embeddings.encoder.texts import warn_of_cut_texts

# Texts that are tokenised and sorted by length together: many enough for even batches, few enough
# for little memory, however many texts there are.
WINDOW = 8192

Array = NDArray[Any]


@dataclass(frozen=True)
class Request:
    """What to embed and how.

    Attributes:
        texts: Checked texts.
        instruction: None for generic embeddings.
        refine_steps: Soft tokens to generate.
        every_step: Keep the embedding after each step, not the last alone.
    """

    texts: Sequence[str]
    instruction: str | None
    refine_steps: int = 0
    every_step: bool = False


@dataclass(frozen=True)
class Session:
    """A loaded model under the options of one encoder."""

    loaded: LoadedModel
    slot: Slot
    options: EncoderOptions

    def embed(self, request: Request, out: Array) -> Iterator[int]:
        """Fill `out`, shape (s, n, dimension), batch by batch.

        Yields:
            Number of texts of each batch.
        """
        frame = self._frame(request.instruction, request.refine_steps)
        forward = self._forward(
            instructed=request.instruction is not None,
            refine_steps=request.refine_steps,
            every_step=request.every_step,
            prompt=frame.prompt,
        )
        instructed, cut = request.instruction is not None, 0
        for start, ids in self._windows(request.texts, frame.room, frame.front):
            cut += sum(len(text) > frame.room for text in ids)
            for places, found in self._engine().run(
                [frame.row(text) for text in ids],
                forward,
                soft_prompts=frame.soft_prompts,
                extra=request.refine_steps,
            ):
                columns = [start + place for place in places]
                out[:, columns] = self._finish(found, instructed=instructed)
                yield len(places)
        warn_of_cut_texts(cut, len(request.texts), frame.room)

    def embed_grid(
        self, texts: Sequence[str], instructions: Sequence[str], refine_steps: int, out: Array
    ) -> Iterator[int]:
        """Fill `out`, shape (instructions, n, dimension), batch by batch.

        Yields:
            Number of pairs of text and instruction in each batch.
        """
        frames = [self._frame(instruction, refine_steps) for instruction in instructions]
        if any(frame.front for frame in frames):
            for cell, instruction in enumerate(instructions):
                request = Request(texts, instruction, refine_steps)
                yield from self.embed(request, out[cell : cell + 1])
            return
        tight = min(frames, key=lambda frame: frame.room)
        cut = 0
        for start, ids in self._windows(texts, max(frame.room for frame in frames)):
            cut += sum(len(text) > tight.room for text in ids)
            share = self._shared if self.loaded.model.backbone.causal else self._apart
            for cells, places, found in share(ids, frames, refine_steps):
                columns = [start + place for place in places]
                out[cells, columns] = self._finish(found, instructed=True)
                yield found[..., 0].size
        warn_of_cut_texts(cut, len(texts), tight.room)

    def _windows(
        self, texts: Sequence[str], room: int, front: str = ""
    ) -> Iterator[tuple[int, list[Ids]]]:
        """First place and token ids of each window; the next one is tokenised meanwhile.

        Of texts that are longer than `room` tokens, no more is read than shows it.
        """

        def tokenised(start: int) -> list[Ids]:
            window = texts[start : start + WINDOW]
            written = [front + text for text in window] if front else window
            return self.loaded.template.tokenise(written, first=start, room=room)

        with ThreadPoolExecutor(1, thread_name_prefix="instruct-embeddings-tokens") as ahead:
            coming = None
            for start in range(0, len(texts), WINDOW):
                ids = tokenised(start) if coming is None else coming.result()
                after = start + WINDOW
                coming = ahead.submit(tokenised, after) if after < len(texts) else None
                yield start, ids

    def _shared(
        self, ids: Sequence[Ids], frames: Sequence[Frame], refine_steps: int
    ) -> Iterator[tuple[Any, Any, Array]]:
        """Texts that fit under every instruction are read once; longer ones once for each."""
        room = min(frame.room for frame in frames)
        fitting = [place for place, text in enumerate(ids) if len(text) <= room]
        longest = max(len(frame.tail) + frame.soft_prompts for frame in frames) + refine_steps
        forward = SharedTexts(self.loaded.model, [f.tail for f in frames], refine_steps)
        heads = [[*frames[0].head, *ids[place]] for place in fitting]
        kept = [(place, row) for place, row in zip(fitting, heads, strict=True) if row]
        for places, found in self._engine(shared=True).run(
            [row for _, row in kept], self._truncated(forward), extra=longest
        ):
            yield np.arange(len(frames))[:, None], [kept[place][0] for place in places], found
        done = {place for place, _ in kept}
        rest = [place for place in range(len(ids)) if place not in done]
        for cells, places, found in self._apart([ids[i] for i in rest], frames, refine_steps):
            yield cells, [rest[place] for place in places], found

    def _apart(
        self, ids: Sequence[Ids], frames: Sequence[Frame], refine_steps: int
    ) -> Iterator[tuple[Any, Any, Array]]:
        """Every pair of text and instruction is a row of its own, all in common batches."""
        pairs = [(cell, place) for cell in range(len(frames)) for place in range(len(ids))]
        for rows, found in self._engine().run(
            [frames[cell].row(ids[place]) for cell, place in pairs],
            self._forward(instructed=True, refine_steps=refine_steps),
            soft_prompts=self.loaded.model.settings.soft_prompts,
            extra=refine_steps,
        ):
            chosen = [pairs[row] for row in rows]
            yield [cell for cell, _ in chosen], [place for _, place in chosen], found[-1]

    def _frame(self, instruction: str | None, refine_steps: int) -> Frame:
        settings = self.loaded.model.settings
        saved = settings.longest(instructed=instruction is not None)
        asked = self.options.max_tokens or saved
        return self.loaded.template.frame(
            instruction,
            soft_prompts=settings.soft_prompts,
            # A checkpoint trained on short rows does not cut the backbone's own input.
            max_tokens=min(asked, max(saved, settings.max_tokens)),
            refine_steps=refine_steps,
        )

    def _engine(self, *, shared: bool = False) -> Engine:
        backbone = self.loaded.model.backbone
        side = self.options.padding_side or ("left" if backbone.causal else "right")
        return Engine(
            self.loaded,
            self.slot.lock,
            Budget(self.options.batch_tokens, self.options.batch_size, shared),
            "right" if backbone.needs_right_padding else side,
        )

    def _forward(
        self, *, instructed: bool, refine_steps: int, every_step: bool = False, prompt: int = 0
    ) -> Callable[[TokenBatch], Tensor]:
        model = self.loaded.model
        if not instructed:
            return self._truncated(partial(model.generic, prompt=prompt))
        kept = slice(None) if every_step else slice(-1, None)
        read = partial(model, refine_steps=refine_steps, prompt=prompt)
        return self._truncated(lambda batch: read(batch)[kept])

    def _truncated(self, forward: Callable[[TokenBatch], Tensor]) -> Callable[[TokenBatch], Tensor]:
        backbone, layers = self.loaded.model.backbone, self.options.truncate_layers

        def run(batch: TokenBatch) -> Tensor:
            with backbone.truncated(layers):
                return forward(batch)

        return run

    def _finish(self, found: Array, *, instructed: bool) -> Array:
        """Dimension, length and type of the numbers that were asked for."""
        model, dimension = self.loaded.model, self.options.truncate_dim
        if model.follows_folder(instructed=instructed):
            dimension = dimension or model.folder.truncate_dim
        kept = torch.from_numpy(found)[..., :dimension]
        if self.options.normalize and self.loaded.model.settings.normalize:
            kept = torch.nn.functional.normalize(kept, dim=-1)
        rows = kept.reshape(-1, kept.shape[-1]).numpy()
        return quantise(rows, self.options.precision).reshape(*found.shape[:-1], -1)
