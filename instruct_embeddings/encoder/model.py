"""The encoder as a torch module: backbone, soft prompts, pooling, refinement.

InstEmb (ICML 2026) for soft prompts and dual-anchor pooling, GIRCSE (ICLR 2026, arXiv 2509.24291)
for refinement. Inference and training run the same `forward`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.batching import TokenBatch
from instruct_embeddings.encoder.poolers import PoolInputs, make_pooler
from instruct_embeddings.encoder.refinement import generate, refinement_pool
from instruct_embeddings.encoder.settings import EncoderSettings


class InstEmb(nn.Module):
    """Embeddings of token batches.

    Attributes:
        backbone: The transformer.
        soft_prompts: Learned input vectors, shape (p, d), float32.
        pooler: Makes an embedding under an instruction of hidden states.
        settings: What a checkpoint says about all of them.
    """

    def __init__(self, backbone: Backbone, settings: EncoderSettings, *, seed: int = 0) -> None:
        """Put an encoder together; soft prompts and learned poolers start from a seed.

        Args:
            backbone: The transformer.
            settings: Soft prompts, pooling, refinement.
            seed: Of the random start. Soft prompts start as token embeddings drawn at random.
        """
        super().__init__()
        self.backbone = backbone
        self.settings = settings
        self.soft_prompts = nn.Parameter(_initial_soft_prompts(backbone, settings, seed))
        parts = {"hidden_size": backbone.hidden_size, "layers": backbone.depth}
        self.generic_pooler = make_pooler(settings.generic_pooling, **parts)
        self.pooler = make_pooler(
            settings.pooling, **parts, latents=settings.latents, heads=settings.heads, seed=seed
        )

    def embed_inputs(self, batch: TokenBatch) -> Tensor:
        """Input embeddings with the soft prompts in their places, shape (b, t, d)."""
        embeds = self.backbone.embed(batch.ids)
        if not batch.soft_prompts:
            return embeds
        rows = torch.arange(len(embeds), device=embeds.device)[:, None]
        soft = self.soft_prompts.to(embeds.dtype).expand(len(embeds), -1, -1)
        return embeds.index_put((rows, batch.soft_positions), soft)

    def forward(self, batch: TokenBatch, *, refine_steps: int = 0) -> Tensor:
        """Embeddings under the instruction that the rows carry, not normalised.

        Args:
            batch: Rows with instruction and places for soft prompts.
            refine_steps: Number s of soft tokens to generate; 0 pools the input instead.

        Returns:
            Shape (max(s, 1), b, dimension): the embedding after each step of refinement; the last
            entry is the result.
        """
        if refine_steps:
            refinement = self.settings.refinement
            generated = generate(
                self.backbone, self.embed_inputs(batch), batch.mask, refine_steps, refinement
            )
            return refinement_pool(generated, refinement.pooling)
        inputs = self.embed_inputs(batch) if batch.soft_prompts else batch.ids
        hidden = self.backbone(inputs, batch.mask, all_layers=self.pooler.needs_layers)
        pooled: Tensor = self.pooler(
            PoolInputs(hidden.last, batch.mask, batch.last, batch.soft_prompts, hidden.layers)
        )
        return pooled[None]

    def generic(self, batch: TokenBatch) -> Tensor:
        """The backbone's own embeddings, without instruction, soft prompts and LoRA layers.

        Returns:
            Shape (1, b, d), not normalised.
        """
        with self.backbone.without_adapter():
            hidden = self.backbone(batch.ids, batch.mask)
        pooled: Tensor = self.generic_pooler(PoolInputs(hidden.last, batch.mask, batch.last, 0))
        return pooled[None]

    def own_parameters(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides backbone and adapter."""
        found = {f"pooler.{name}": value for name, value in self.pooler.state_dict().items()}
        return {"soft_prompts": self.soft_prompts.detach(), **found}


def _initial_soft_prompts(backbone: Backbone, settings: EncoderSettings, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    table: Any = backbone.body.get_input_embeddings()
    vocabulary: int = table.num_embeddings
    ids = torch.randint(vocabulary, (1, settings.soft_prompts), generator=generator)
    with torch.no_grad():
        return backbone.embed(ids.to(backbone.device))[0].float().clone()
