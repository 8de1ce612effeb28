"""Many instructions over the same texts: a causal backbone reads each text once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from instruct_embeddings.encoder.backbone import Hidden
from instruct_embeddings.encoder.batching import TokenBatch
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.poolers import PoolInputs
from instruct_embeddings.encoder.refinement import continue_cached, pad_left, refinement_pool


@dataclass(frozen=True)
class SharedTexts:
    """Embeddings of a batch of texts under every instruction, from one pass over the texts.

    The text stands in front of the instruction, so its keys and values are the same under all
    instructions: they are computed once, extended by each instruction and cut back.

    Attributes:
        model: An encoder with a causal backbone.
        tails: Token ids behind the text, one sequence an instruction.
        refine_steps: Soft tokens to generate under each.
    """

    model: InstEmb
    tails: Sequence[Sequence[int]]
    refine_steps: int

    def __call__(self, batch: TokenBatch) -> Tensor:
        """Embeddings of rows that hold the text alone: b rows to (instructions, b, dimension)."""
        from transformers import DynamicCache

        cache = DynamicCache()
        backbone = self.model.backbone
        layers = self.model.pooler.needs_layers and not self.refine_steps
        ids, read = pad_left(batch.ids, batch.mask)
        text = backbone(ids, read, cache=cache, all_layers=layers)
        length = ids.shape[1]
        found = []
        for embeds in self._tail_embeddings(batch):
            mask = torch.cat([read, read.new_ones(embeds.shape[:2])], dim=1)
            tail = backbone(embeds, mask, cache=cache, all_layers=layers)
            found.append(self._embedding(text, tail, mask, cache))
            # Negative: the number of positions to drop, in every version of transformers.
            cache.crop(length - cache.get_seq_length())
        return torch.stack(found)

    def _tail_embeddings(self, batch: TokenBatch) -> Iterator[Tensor]:
        """Input embeddings of each instruction with its soft prompts, shape (b, t + p, d)."""
        rows = len(batch.ids)
        for tail in self.tails:
            ids = torch.tensor([list(tail)], dtype=torch.long, device=batch.ids.device)
            embeds = self.model.backbone.embed(ids)[0]
            soft = self.model.soft_prompts.to(embeds.dtype)
            yield torch.cat([embeds, soft]).expand(rows, -1, -1)

    def _embedding(self, text: Hidden, tail: Hidden, mask: Tensor, cache: object) -> Tensor:
        if self.refine_steps:
            settings = self.model.settings.refinement
            generated = continue_cached(
                self.model.backbone, cache, mask, tail.last[:, -1], self.refine_steps, settings
            )
            return self.model.finish(refinement_pool(generated, settings.pooling)[-1])
        soft_prompts = len(self.model.soft_prompts)
        last = torch.full((len(mask),), mask.shape[1] - soft_prompts - 1, device=mask.device)
        pairs = zip(text.layers, tail.layers, strict=True)
        inputs = PoolInputs(
            torch.cat([text.last, tail.last], dim=1),
            mask,
            last,
            soft_prompts,
            tuple(torch.cat(pair, dim=1) for pair in pairs),
        )
        return self.model.pool(inputs)
