"""From examples to token batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.template import (
    Frame,
    Ids,
    Template,
    TokenBatch,
    collate,
    length_sorted_batches,
)
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.training.data.files import Example

# Instructions of open questions are all different: what is kept of them has a bound.
_MOST_FRAMES = 10_000
# Every new length of a row makes new kernels: few lengths keep them few.
_MULTIPLE = 8
_PLAIN_TOKENS = 4096


@dataclass(frozen=True)
class Chunk:
    """Rows of one forward pass."""

    indices: Tensor  # of these rows in the batch, shape (b,)
    batch: TokenBatch  # text and instruction
    plain: TokenBatch | None = None  # the texts alone, where asked for


class RowMaker:
    """Tokenises examples for a student or a teacher; `limits` are tokens of a text by set."""

    def __init__(
        self,
        template: Template,
        settings: EncoderSettings,
        *,
        device: str,
        causal: bool,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self._template, self._settings, self._device = template, settings, device
        self._side: Side = "left" if causal else "right"
        # Some backbones have no positions for padding behind the longest row.
        longest = max(settings.max_tokens, settings.generic_max_tokens)
        self._longest = longest - settings.refinement.steps
        self._limits = dict(limits or {})
        self._frame = lru_cache(_MOST_FRAMES)(
            partial(
                template.frame,
                soft_prompts=settings.soft_prompts,
                max_tokens=settings.max_tokens,
                refine_steps=settings.refinement.steps,
            )
        )

    def fits(self, example: Example) -> bool:
        """Whether the instruction leaves room for a text."""
        try:
            self._frame(example.instruction)
        except InstructionError:
            return False
        return True

    def chunks(
        self, examples: Sequence[Example], rows: int, tokens: int | None, *, plain: bool = False
    ) -> list[Chunk]:
        """Cut a batch into forward passes of rows of similar length.

        A pass has at most so many rows and padded tokens; None sets no bound on the tokens. `plain`
        makes rows without instruction too.
        """
        made = self.instructed(examples)
        texts = self.generic([example.text for example in examples]) if plain else None
        soft = self._settings.soft_prompts
        lengths = [len(row) + soft for row in made]
        budget = tokens or rows * max(lengths, default=0)
        return [
            Chunk(
                torch.tensor(indices),
                self._collate([made[i] for i in indices], soft),
                self._collate([texts[i] for i in indices], 0) if texts else None,
            )
            for indices in length_sorted_batches(lengths, budget, rows)
        ]

    def instructed(self, examples: Sequence[Example]) -> list[Ids]:
        """Token ids of text and instruction."""
        return [frame.row(text) for frame, text in self._framed(examples)]

    def generic(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of texts alone, as the backbone knows them."""
        frame = self._template.frame(
            None, soft_prompts=0, max_tokens=self._settings.generic_max_tokens
        )
        written = [frame.front + text for text in texts] if frame.front else texts
        found = self._template.tokenise(written, room=frame.room)
        return [frame.row(text) for text in found]

    def answered(self, examples: Sequence[Example], most: int) -> tuple[list[Ids], list[int]]:
        """Token ids of text, instruction and answer, for a teacher that may see the answer.

        Rows are no longer than others: the text is cut, so that the answer has room for `most`
        tokens. Beside the rows stands how many tokens at the end of each are the answer's.
        """
        answers = self._template.tokenise([f" {example.answer}" for example in examples])
        rows, counts = [], []
        for (frame, text), tokens in zip(self._framed(examples), answers, strict=True):
            # At least half of the room is the text's.
            answer = tokens[: max(1, min(most, frame.room // 2))] or [self._template.pad_id]
            room = max(0, frame.room - len(answer))
            rows.append([*frame.row(text[:room]), *answer])
            counts.append(len(answer))
        return rows, counts

    def plain_batches(self, rows: Sequence[Ids]) -> Iterator[tuple[list[int], TokenBatch]]:
        """Batches without soft prompts, with the indices of their rows."""
        for indices in length_sorted_batches([len(row) for row in rows], _PLAIN_TOKENS):
            yield indices, self._collate([rows[i] for i in indices], 0)

    def _framed(self, examples: Sequence[Example]) -> list[tuple[Frame, Ids]]:
        """What stands around each text, and its token ids; InstructionError without room."""
        frames = [self._frame(example.instruction) for example in examples]
        pairs = zip(frames, examples, strict=True)
        texts = self._template.tokenise([frame.front + example.text for frame, example in pairs])
        return [
            (frame, text[: self._limits.get(example.group.partition("/")[0])])
            for frame, example, text in zip(frames, examples, texts, strict=True)
        ]

    def _collate(self, rows: Sequence[Ids], soft_prompts: int) -> TokenBatch:
        longest = max(map(len, rows)) + soft_prompts
        padded = -(-longest // _MULTIPLE) * _MULTIPLE
        return collate(
            rows,
            soft_prompts=soft_prompts,
            pad_id=self._template.pad_id,
            side=self._side,
            multiple=_MULTIPLE if padded <= self._longest else 1,
            device=self._device,
        )
