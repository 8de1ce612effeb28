"""The encoder as a torch module: backbone, soft prompts, pooling, refinement.

InstEmb (ICML 2026) for soft prompts and dual-anchor pooling, GIRCSE (ICLR 2026, arXiv 2509.24291)
for refinement. Inference and training run the same `forward`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.batching import TokenBatch
from instruct_embeddings.encoder.folder import Folder
from instruct_embeddings.encoder.layers import load_layers
from instruct_embeddings.encoder.poolers import PoolInputs, make_pooler
from instruct_embeddings.encoder.refinement import generate, refinement_pool
from instruct_embeddings.encoder.settings import EncoderSettings


class InstEmb(nn.Module):
    """Embeddings of token batches.

    Attributes:
        backbone: The transformer.
        soft_prompts: Learned input vectors, shape (p, d), float32.
        pooler: Makes an embedding under an instruction of hidden states.
        settings: What a checkpoint says about all of them; never longer rows than the backbone has
            positions.
        folder: What the folder of the backbone says of its own embeddings.
        layers: Those behind the pooling of the backbone's own embeddings.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: EncoderSettings,
        *,
        seed: int = 0,
        folder: Folder | None = None,
    ) -> None:
        """Put an encoder together; soft prompts and learned poolers start from a seed.

        Args:
            backbone: The transformer.
            settings: Soft prompts, pooling, refinement.
            seed: Of the random start. Soft prompts start as token embeddings drawn at random.
            folder: What the folder of the backbone says of its own embeddings.

        Raises:
            CheckpointError: Layers behind the pooling do not fit.
        """
        super().__init__()
        self.backbone = backbone
        self.settings = settings = settings.within(backbone.positions)
        self.folder = folder or Folder()
        self.layers = load_layers(self.folder.layers, backbone.hidden_size)
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

    def follows_folder(self, *, instructed: bool) -> bool:
        """Whether embeddings are made as the folder of the backbone says."""
        return self.settings.plain or not instructed

    def pool(self, inputs: PoolInputs) -> Tensor:
        """Embeddings under an instruction, of hidden states, shape (b, dimension)."""
        pooled: Tensor = self.pooler(inputs)
        return self.finish(pooled)

    def finish(self, pooled: Tensor) -> Tensor:
        """The layers behind the pooling, where they count under an instruction."""
        if not self.follows_folder(instructed=True):
            return pooled
        out: Tensor = self.layers(pooled)
        return out

    def forward(self, batch: TokenBatch, *, refine_steps: int = 0, prompt: int = 0) -> Tensor:
        """Embeddings under the instruction that the rows carry, not normalised.

        Args:
            batch: Rows with instruction and places for soft prompts.
            refine_steps: Number s of soft tokens to generate; 0 pools the input instead.
            prompt: Number of the first positions that are not pooled.

        Returns:
            Shape (max(s, 1), b, dimension): the embedding after each step of refinement; the last
            entry is the result.
        """
        if refine_steps:
            refinement = self.settings.refinement
            generated = generate(
                self.backbone, self.embed_inputs(batch), batch.mask, refine_steps, refinement
            )
            return self.finish(refinement_pool(generated, refinement.pooling))
        inputs = self.embed_inputs(batch) if batch.soft_prompts else batch.ids
        hidden = self.backbone(inputs, batch.mask, all_layers=self.pooler.needs_layers)
        return self.pool(
            PoolInputs(
                hidden.last, batch.mask, batch.last, batch.soft_prompts, hidden.layers, prompt
            )
        )[None]

    def generic(self, batch: TokenBatch, *, prompt: int = 0) -> Tensor:
        """The backbone's own embeddings, without instruction, soft prompts and LoRA layers.

        Args:
            batch: Rows without places for soft prompts.
            prompt: Number of the first positions that are not pooled.

        Returns:
            Shape (1, b, d), not normalised.
        """
        with self.backbone.without_adapter():
            hidden = self.backbone(batch.ids, batch.mask)
        inputs = PoolInputs(hidden.last, batch.mask, batch.last, 0, prompt=prompt)
        out: Tensor = self.layers(self.generic_pooler(inputs))
        return out[None]

    def own_parameters(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides backbone and adapter."""
        found = {f"pooler.{name}": value for name, value in self.pooler.state_dict().items()}
        return {"soft_prompts": self.soft_prompts.detach(), **found}


def _initial_soft_prompts(backbone: Backbone, settings: EncoderSettings, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if not settings.soft_prompts:
        return torch.zeros(0, backbone.input_size, device=backbone.device)
    table: Any = backbone.body.get_input_embeddings()
    ids = torch.randint(len(table.weight), (1, settings.soft_prompts), generator=generator)
    with torch.no_grad():
        return backbone.embed(ids.to(backbone.device))[0].float().clone()
