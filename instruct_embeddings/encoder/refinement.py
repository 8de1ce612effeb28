"""Generative refinement (GIRCSE): soft tokens that the model appends to its own input.

Tsai et al., "Let LLMs Speak Embedding Languages" (ICLR 2026, arXiv 2509.24291), section 3.
"""

import torch
from torch import Tensor

from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.settings import RefinementSettings


def generate(
    backbone: Backbone,
    embeds: Tensor,
    mask: Tensor,
    steps: int,
    settings: RefinementSettings,
) -> Tensor:
    """Generate soft tokens after rows and read their hidden states.

    A causal backbone keeps the keys and values of what it has read; a bidirectional one, and one
    under gradient checkpointing, reads the whole row again at each step.

    Args:
        backbone: The transformer.
        embeds: Input embeddings of the rows, soft prompts included, shape (b, t, d).
        mask: 1 at real positions, shape (b, t).
        steps: Number s of soft tokens.
        settings: Temperature of the softmax.

    Returns:
        Last hidden states of the generated positions, shape (b, s, d).
    """
    if backbone.can_cache:
        from transformers import DynamicCache

        cache = DynamicCache()
        embeds, mask = pad_left(embeds, mask)
        final = backbone(embeds, mask, cache=cache)[:, -1]
        return continue_cached(backbone, cache, mask, final, steps, settings)
    generated = []
    for step in range(steps + 1):
        final = _final(backbone(embeds, mask), mask)
        if step:
            generated.append(final)
        if step < steps:
            token = backbone.soft_token(final, settings.temperature)
            embeds, mask = _append(embeds, mask, token)
    return torch.stack(generated, dim=1)


def continue_cached(
    backbone: Backbone,
    cache: "object",
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


def _final(hidden: Tensor, mask: Tensor) -> Tensor:
    """Hidden state of the last real position of each row, shape (b, d)."""
    return hidden[torch.arange(len(mask), device=mask.device), _last_real(mask)]


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
