"""The encoder as a torch module: backbone, soft prompts, pooling, refinement.

InstEmb (ICML 2026) for soft prompts and dual-anchor pooling, GIRCSE (ICLR 2026, arXiv 2509.24291)
for refinement. Inference and training run the same `forward`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.pooling import PoolInputs, load_layers, make_pooler
from instruct_embeddings.encoder.sentence_transformers import Folder
from instruct_embeddings.encoder.settings import EncoderSettings, RefinementSettings
from instruct_embeddings.encoder.template import TokenBatch


class InstEmb(nn.Module):
    """Embeddings of token batches.

    `soft_prompts`, shape (p, d), are float32; `settings` never say longer rows than the backbone
    has positions; `folder` and `layers`, behind the pooling, belong to the backbone's own
    embeddings.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: EncoderSettings,
        *,
        seed: int = 0,
        folder: Folder | None = None,
    ) -> None:
        """Put an encoder together; soft prompts start as token embeddings drawn by the seed."""
        super().__init__()
        self.backbone = backbone
        self.settings = settings = settings.within(backbone.positions)
        self.folder = folder or Folder()
        self.layers = load_layers(self.folder.layers, backbone.hidden_size)
        self.soft_prompts = nn.Parameter(_initial_soft_prompts(backbone, settings, seed))
        d = backbone.hidden_size
        self.generic_pooler = make_pooler(settings.generic_pooling, hidden_size=d)
        self.pooler = make_pooler(
            settings.pooling,
            hidden_size=d,
            latents=settings.latents,
            heads=settings.heads,
            seed=seed,
        )

    def embed_inputs(self, batch: TokenBatch) -> Tensor:
        """Input embeddings with the soft prompts among them, shape (b, t, d)."""
        embeds = self.backbone.embed(batch.ids)
        if not batch.soft_prompts:
            return embeds
        rows = torch.arange(len(embeds), device=embeds.device)[:, None]
        soft = self.soft_prompts.to(embeds.dtype).expand(len(embeds), -1, -1)
        return embeds.index_put((rows, batch.soft_positions), soft)

    def pool(self, inputs: PoolInputs) -> Tensor:
        """Embeddings under an instruction, of hidden states, shape (b, dimension)."""
        pooled: Tensor = self.pooler(inputs)
        return self.finish(pooled)

    def finish(self, pooled: Tensor) -> Tensor:
        """The layers behind the pooling, where they count under an instruction."""
        return self.layers(pooled) if self.settings.plain else pooled

    def forward(self, batch: TokenBatch, *, refine_steps: int = 0, prompt: int = 0) -> Tensor:
        """Embeddings under the instruction that the rows carry, not normalised.

        With `refine_steps` s, shape (max(s, 1), b, dimension): the embedding after each step, the
        last entry the result; 0 pools the input. The first `prompt` positions are not pooled.
        """
        if refine_steps:
            refinement = self.settings.refinement
            generated = generate(
                self.backbone, self.embed_inputs(batch), batch.mask, refine_steps, refinement
            )
            return self.finish(refinement_pool(generated, refinement.pooling))
        inputs = self.embed_inputs(batch) if batch.soft_prompts else batch.ids
        hidden = self.backbone(inputs, batch.mask)
        given = PoolInputs(hidden, batch.mask, batch.last, batch.soft_prompts, prompt)
        return self.pool(given)[None]

    def generic(self, batch: TokenBatch, *, prompt: int = 0) -> Tensor:
        """The backbone's own embeddings, without soft prompts and LoRA layers, shape (1, b, d).

        The first `prompt` positions are not pooled. Not normalised.
        """
        with self.backbone.without_adapter():
            hidden = self.backbone(batch.ids, batch.mask)
        inputs = PoolInputs(hidden, batch.mask, batch.last, 0, prompt)
        out: Tensor = self.layers(self.generic_pooler(inputs))
        return out[None]

    def states(self, batch: TokenBatch) -> Tensor:
        """Hidden states of the backbone alone, shape (b, t, d); every row begins at the left."""
        with self.backbone.without_adapter():
            hidden: Tensor = self.backbone(batch.ids, batch.mask)
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        columns = torch.arange(hidden.shape[1], device=hidden.device)
        begins = batch.mask.argmax(1, keepdim=True)
        return hidden[rows, (columns + begins) % hidden.shape[1]]

    def grid(
        self, batch: TokenBatch, *, tails: Sequence[Sequence[int]], refine_steps: int
    ) -> Tensor:
        """Embeddings of texts under every instruction, from one pass of a causal backbone.

        The text stands in front of the instruction, so its keys and values are the same under all
        instructions: they are computed once, extended by each instruction and cut back.

        Args:
            batch: b rows that hold the text alone.
            tails: Token ids behind the text, one sequence an instruction.
            refine_steps: Soft tokens to generate.

        Returns:
            Shape (instructions, b, dimension), not normalised.
        """
        from transformers import DynamicCache

        cache = DynamicCache()
        ids, read = pad_left(batch.ids, batch.mask)
        text = self.backbone(ids, read, cache=cache)
        found = []
        for tail in tails:
            given = torch.tensor([list(tail)], dtype=torch.long, device=ids.device)
            embeds = self.backbone.embed(given)[0]
            embeds = torch.cat([embeds, self.soft_prompts.to(embeds.dtype)])
            mask = torch.cat([read, read.new_ones(len(ids), len(embeds))], dim=1)
            states = self.backbone(embeds.expand(len(ids), -1, -1), mask, cache=cache)
            if refine_steps:
                settings = self.settings.refinement
                generated = continue_cached(
                    self.backbone, cache, mask, states[:, -1], refine_steps, settings
                )
                found.append(self.finish(refinement_pool(generated, settings.pooling)[-1]))
            else:
                soft = len(self.soft_prompts)
                last = torch.full((len(mask),), mask.shape[1] - soft - 1, device=mask.device)
                hidden = torch.cat([text, states], dim=1)
                found.append(self.pool(PoolInputs(hidden, mask, last, soft)))
            # Negative: the number of positions to drop, in every version of transformers.
            cache.crop(ids.shape[1] - cache.get_seq_length())
        return torch.stack(found)

    def own_parameters(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides backbone and adapter."""
        found = {f"pooler.{name}": value for name, value in self.pooler.state_dict().items()}
        return {"soft_prompts": self.soft_prompts.detach(), **found}


def generate(
    backbone: Backbone,
    embeds: Tensor,
    mask: Tensor,
    steps: int,
    settings: RefinementSettings,
) -> Tensor:
    """Generate soft tokens after rows and read their hidden states (GIRCSE, section 3).

    A causal backbone keeps the keys and values of what it has read; a bidirectional one, and one
    under gradient checkpointing, reads the whole row again at each step. Input embeddings (b, t, d)
    with soft prompts, and their mask (b, t), to last hidden states of s generated positions,
    (b, s, d).
    """
    if backbone.can_cache:
        from transformers import DynamicCache

        cache = DynamicCache()
        embeds, mask = pad_left(embeds, mask)
        final = backbone(embeds, mask, cache=cache)[:, -1]
        return continue_cached(backbone, cache, mask, final, steps, settings)
    generated = []
    for step in range(steps + 1):
        rows = torch.arange(len(mask), device=mask.device)
        final = backbone(embeds, mask)[rows, _last_real(mask)]
        if step:
            generated.append(final)
        if step < steps:
            token = backbone.soft_token(final, settings.temperature)
            embeds, mask = _append(embeds, mask, token)
    return torch.stack(generated, dim=1)


def continue_cached(
    backbone: Backbone,
    cache: object,
    mask: Tensor,
    final: Tensor,
    steps: int,
    settings: RefinementSettings,
) -> Tensor:
    """The same from where the cache of a causal backbone ends, which grows by `steps` positions.

    `mask`, shape (b, t), has its padding at the left; `final`, shape (b, d), is the hidden state of
    each row's final position.
    """
    generated = []
    for _ in range(steps):
        token = backbone.soft_token(final, settings.temperature)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        final = backbone(token[:, None], mask, cache=cache)[:, -1]
        generated.append(final)
    return torch.stack(generated, dim=1)


def pad_left(inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate each row, ids or input embeddings and their mask, until its padding is at the left.

    What is appended then follows the row without a gap, which sliding windows would count.
    """
    rows, steps = torch.arange(len(mask), device=mask.device)[:, None], mask.shape[1]
    positions = torch.arange(steps, device=mask.device)
    order = (positions + _last_real(mask)[:, None] + 1) % steps
    return inputs[rows, order], mask[rows, order]


def refinement_pool(generated: Tensor, how: str) -> Tensor:
    """Embeddings after each step: the "mean" of the positions so far, or the "last" one.

    Shape (b, s, d) to (s, b, d), float32; the last entry is the embedding.
    """
    states = generated.float().transpose(0, 1)
    if how == "last":
        return states
    counts = torch.arange(1, len(states) + 1, device=states.device)
    return states.cumsum(0) / counts[:, None, None]


def _last_real(mask: Tensor) -> Tensor:
    """Index of the last real position of each row, shape (b,)."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask.bool(), positions, -1).amax(1)


def _append(embeds: Tensor, mask: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Put one more position behind the last real one of each row.

    Bidirectional models that count positions themselves need it there, not at the end.
    """
    rows, after = torch.arange(len(mask), device=mask.device), _last_real(mask) + 1
    embeds = torch.cat([embeds, torch.zeros_like(embeds[:, :1])], dim=1)
    mask = torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1)
    embeds = embeds.index_put((rows, after), token.to(embeds.dtype))
    return embeds, mask.index_put((rows, after), mask.new_ones(()))


def _initial_soft_prompts(backbone: Backbone, settings: EncoderSettings, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if not settings.soft_prompts:
        return torch.zeros(0, backbone.input_size, device=backbone.device)
    table: Any = backbone.body.get_input_embeddings()
    ids = torch.randint(len(table.weight), (1, settings.soft_prompts), generator=generator)
    with torch.no_grad():
        return backbone.embed(ids.to(backbone.device))[0].float().clone()
