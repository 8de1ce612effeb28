"""The only place where text becomes tokens: `[text] [instruction]`, and tokens become batches.

Text and instruction are tokenised on their own and joined as ids. So a text has the same ids under
every instruction, positions are counted instead of searched for, and the text alone is truncated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from instruct_embeddings._types import IntArray
from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.settings import TemplateSettings
from instruct_embeddings.errors import ConfigError, InstructionError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = list[int]
# Of a long text so many characters are read for each token that is kept, and so many tokens more:
# what a cut between words changes, as in a run of spaces, is shorter.
_CHARACTERS, _MARGIN = 6, 128


@dataclass(frozen=True)
class Frame:
    """What stands around every text of one call.

    Attributes:
        head: Token ids in front of a text.
        tail: Token ids after it; the instruction is among them.
        soft_prompts: Learned vectors after the tail.
        room: Most tokens of a text.
        filler: Stands for a row that would have no token at all.
        front: Written in front of each text before it is tokenised.
        prompt: Number of the first tokens of a row that are read and not pooled.
        from_left: Texts that are too long are cut at their beginning.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    soft_prompts: int
    room: int
    filler: int
    front: str = ""
    prompt: int = 0
    from_left: bool = False

    def row(self, text: Sequence[int]) -> Ids:
        """Token ids of one row, without soft prompts; the text is cut to `room` tokens."""
        kept = text[-self.room :] if self.from_left else text[: self.room]
        return [*self.head, *kept, *self.tail] or [self.filler]


class Template:
    """Tokenises texts and instructions for one backbone."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        settings: TemplateSettings,
        *,
        pairs: bool,
        prompt: str = "",
        pools_prompt: bool = True,
    ) -> None:
        """Learn the special tokens; `prompt` stands in front of texts without an instruction."""
        self.tokenizer, self._settings = tokenizer, settings
        self._prompt, self._pools_prompt = prompt, pools_prompt
        self._from_left = tokenizer.truncation_side == "left"
        self._before, self._between, self._after = self.tokenise(
            [settings.before, settings.between, settings.after]
        )
        # Special tokens: "a" alone is `prefix a suffix`, and a pair `prefix a middle a suffix`.
        (bare,) = self.tokenise(["a"])
        one = list(tokenizer("a")["input_ids"])
        two = list(tokenizer("a", "a")["input_ids"]) if pairs else []
        places = [i for i in range(len(one)) if one[i : i + len(bare)] == bare]
        start = places[0] if places else 0
        end = start + len(bare)
        self._prefix, self._suffix = one[:start], one[end:]
        self._middle = two[end : max(0, len(two) - len(bare) - len(self._suffix))]
        candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        self._filler: int = next((i for i in candidates if isinstance(i, int)), 0)

    @property
    def pad_id(self) -> int:
        """Id at positions that are masked."""
        pad = self.tokenizer.pad_token_id
        return pad if isinstance(pad, int) else self._filler

    def tokenise(self, texts: Sequence[str], *, room: int | None = None) -> list[Ids]:
        """Token ids of each text, without special tokens.

        Where `room` tokens are kept of a text, a longer one is tokenised no further than shows its
        first tokens.
        """
        if room is None or self._from_left:
            return self._ids(texts)
        wanted = room + 1 + _MARGIN
        found: list[Ids] = [[] for _ in texts]
        remaining, size = list(range(len(texts))), _CHARACTERS * wanted
        while remaining:
            starts = {i: _start(texts[i], size) for i in remaining}
            for i, ids in zip(remaining, self._ids(list(starts.values())), strict=True):
                found[i] = ids
            cut = (i for i, start in starts.items() if len(start) < len(texts[i]))
            remaining, size = [i for i in cut if len(found[i]) < wanted], 4 * size
        return found

    def tokens_of(self, text: str) -> tuple[Ids, IntArray]:
        """Token ids of a text, and the characters of each: first and behind the last, (t, 2).

        Raises:
            ConfigError: The tokenizer does not say where tokens come from.
        """
        if not self.tokenizer.is_fast:
            raise ConfigError(
                f"The tokenizer {type(self.tokenizer).__name__} does not say which characters a "
                "token comes from; fast tokenizers do. Use a model with a tokenizer.json."
            )
        found = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        characters = np.array(found["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        return list(found["input_ids"]), characters

    def _ids(self, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        # Neither padding nor truncation is ever asked for: both would change the tokenizer, which
        # other threads may be using.
        return self.tokenizer(  # type: ignore[no-any-return]
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    def frame(
        self,
        instruction: str | None,
        *,
        soft_prompts: int,
        max_tokens: int,
        refine_steps: int = 0,
    ) -> Frame:
        """What stands around texts under an instruction; InstructionError where none has room.

        Without an instruction it is the backbone's own input, without soft prompts. `max_tokens`
        is the maximum length of a row, soft prompts and soft tokens included.
        """
        front, leading = "", 0
        head, tail = self._prefix, self._suffix
        if instruction is None:
            soft_prompts, front = 0, self._prompt
        elif self._settings.instruction_first:
            tail = self._after + tail
            front = f"{self._settings.before}{instruction}{self._settings.between}"
            leading = len(self.tokenise([front])[0])
        else:
            head = head + self._before
            (written,) = self.tokenise([instruction])
            tail = self._middle + self._between + written + self._after + tail
        taken = len(head) + len(tail) + soft_prompts + refine_steps
        room = max_tokens - taken
        if room - leading < 1:
            raise InstructionError(
                "Instruction, special tokens, soft prompts and soft tokens take "
                f"{taken + leading} of {max_tokens} tokens and leave no room for a text. Shorten "
                "the instruction, use fewer refine_steps, or raise max_tokens."
            )
        return Frame(
            head=tuple(head),
            tail=tuple(tail),
            soft_prompts=soft_prompts,
            room=room,
            filler=self._filler,
            front=front,
            prompt=0 if self._pools_prompt or not front else self._length_alone(front),
            from_left=self._from_left,
        )

    def _length_alone(self, prompt: str) -> int:
        """Tokens of a prompt with the special ones in front, as sentence-transformers counts."""
        ids = list(self.tokenizer(prompt)["input_ids"])
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids if ids else 0)


def _start(text: str, size: int) -> str:
    """At most so many characters, up to the end of a word; all of a text that is little longer.

    A word is never cut: Unigram reads one from its end, so that a run of "=" that is shorter by one
    may have other tokens from its beginning on.
    """
    if len(text) <= 2 * size:
        return text
    end = max(text.rfind(" ", 1, size), text.rfind("\n", 1, size))
    return text[:end] if end > 0 else text


def length_sorted_batches(
    lengths: Sequence[int], batch_tokens: int, batch_size: int | None = None
) -> Iterator[list[int]]:
    """Indices of texts of similar length, batch by batch under a budget of padded tokens.

    Longest first, so that memory runs out in the first batch or never. A text beyond `batch_tokens`
    gets a batch of its own; `batch_size` bounds the rows.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        if batch_size is not None:
            rows = min(rows, batch_size)
        yield order[start : start + rows]
        start += rows


@dataclass(frozen=True)
class TokenBatch:
    """Rows of one forward pass: `[padding] tokens [soft prompts] [padding]`.

    Attributes:
        ids: Token ids, shape (b, t); the padding id stands at soft prompts too.
        mask: 1 at real positions, soft prompts included, shape (b, t).
        last: Index of the final input token of each row, shape (b,); soft prompts follow it.
        soft_prompts: Number p of soft prompts.
    """

    ids: Tensor
    mask: Tensor
    last: Tensor
    soft_prompts: int

    @property
    def soft_positions(self) -> Tensor:
        """Positions of the soft prompts, shape (b, p)."""
        steps = torch.arange(1, self.soft_prompts + 1, device=self.last.device)
        return self.last[:, None] + steps


def collate(
    rows: Sequence[Sequence[int]],
    *,
    soft_prompts: int,
    pad_id: int,
    side: Side,
    device: str | None = None,
    multiple: int = 1,
) -> TokenBatch:
    """Pad rows of token ids, none of them empty, to one length and move them to a device.

    After each row, positions are left for `soft_prompts`; the length is a multiple of `multiple`.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    full = int(-(-(lengths.max() + soft_prompts) // multiple) * multiple)
    starts = full - lengths - soft_prompts if side == "left" else np.zeros_like(lengths)
    columns = np.arange(full)
    ids = np.full((len(rows), full), pad_id, dtype=np.int64)
    tokens = (columns >= starts[:, None]) & (columns < (starts + lengths)[:, None])
    ids[tokens] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    ends = (starts + lengths + soft_prompts)[:, None]
    mask = ((columns >= starts[:, None]) & (columns < ends)).astype(np.int64)
    return TokenBatch(
        ids=_move(torch.from_numpy(ids), device),
        mask=_move(torch.from_numpy(mask), device),
        last=_move(torch.from_numpy(starts + lengths - 1), device),
        soft_prompts=soft_prompts,
    )


def _move(array: Tensor, device: str | None) -> Tensor:
    if device is None or device == "cpu":
        return array
    if device.startswith("cuda"):
        # Pinned memory lets the copy run while the device still computes the batch before.
        return array.pin_memory().to(device, non_blocking=True)
    return array.to(device)
