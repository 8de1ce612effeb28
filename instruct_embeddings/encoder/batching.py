"""Batches that waste little padding, and rows as tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings.encoder.options import Side

if TYPE_CHECKING:
    from torch import Tensor


def length_sorted_batches(
    lengths: Sequence[int], batch_tokens: int, batch_size: int | None = None
) -> Iterator[list[int]]:
    """Group texts of similar length under a budget of padded tokens.

    Longest first, so that memory runs out in the first batch or never.

    Args:
        lengths: Tokens of each text.
        batch_tokens: Upper bound of rows times longest row; a longer text gets a batch of its own.
        batch_size: Upper bound of rows.

    Yields:
        Positions of the texts of one batch.
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

    ids: "Tensor"
    mask: "Tensor"
    last: "Tensor"
    soft_prompts: int

    @property
    def soft_positions(self) -> "Tensor":
        """Indices of the soft prompts, shape (b, p)."""
        import torch

        steps = torch.arange(1, self.soft_prompts + 1, device=self.last.device)
        return self.last[:, None] + steps


def collate(
    rows: Sequence[Sequence[int]],
    *,
    soft_prompts: int,
    pad_id: int,
    side: Side,
    device: "str | None" = None,
    multiple: int = 1,
) -> TokenBatch:
    """Pad rows to one length and move them to a device.

    Args:
        rows: Token ids of b rows, none of them empty.
        soft_prompts: Positions to leave for soft prompts after each row.
        pad_id: Token id of masked positions.
        side: Where shorter rows are filled.
        device: Where to; by default the CPU.
        multiple: The padded length is a multiple of this.
    """
    import torch

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


def _move(array: "Tensor", device: "str | None") -> "Tensor":
    if device is None or device == "cpu":
        return array
    if device.startswith("cuda"):
        # Pinned memory lets the copy run while the device still computes the batch before.
        return array.pin_memory().to(device, non_blocking=True)
    return array.to(device)
