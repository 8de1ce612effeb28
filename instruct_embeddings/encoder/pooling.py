"""From hidden states to one vector a row: pure functions.

A row of a batch is `[padding?] [text] [instruction] [soft prompts] [padding?]` without gaps.
Shapes: b batch, t tokens, d hidden, p soft prompts, l layers, r trainable latents or queries.
`last` is the position of a row's final input token, the one before its soft prompts; `mask` is 1 at
real positions, soft prompts included. Nothing depends on the side or the content of the padding, no
argument is changed, and half precision is widened to float32 before anything is summed.
"""

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.errors import ConfigError


def last_token_pool(hidden: Tensor, last: Tensor) -> Tensor:
    """State of the final input token, the primary anchor of InstEmb.

    Args:
        hidden: Shape (b, t, d).
        last: Positions, shape (b,).

    Returns:
        Shape (b, d).
    """
    return _wide(hidden[_rows(hidden), last])


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real positions; zeros for a row that has none.

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).

    Returns:
        Shape (b, d), not normalised.
    """
    real = mask.bool()
    total = _real_only(hidden, real).sum(1, dtype=_wide_type(hidden))
    return total / real.sum(1, keepdim=True).clamp(min=1)


def mean_sqrt_len_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Sum over the real positions, divided by the square root of their number.

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).

    Returns:
        Shape (b, d), not normalised.
    """
    return mean_pool(hidden, mask) * mask.bool().sum(1, keepdim=True).sqrt()


def weighted_mean_pool(hidden: Tensor, mask: Tensor, read: Tensor) -> Tensor:
    """Mean over the real positions, each with its place in the row for a weight (SGPT).

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).
        read: 1 at every position that was read, shape (b, t); places are counted over these.

    Returns:
        Shape (b, d), not normalised; zeros for a row that has none.
    """
    real = mask.bool()
    weights = (read.bool().cumsum(1) * real).to(_wide_type(hidden))
    total = torch.einsum("btd,bt->bd", _wide(_real_only(hidden, real)), weights)
    return total / weights.sum(1, keepdim=True).clamp(min=1)


def max_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Largest value of each dimension over the real positions.

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).

    Returns:
        Shape (b, d), not normalised.
    """
    return _wide(hidden).masked_fill(~mask.bool().unsqueeze(-1), float("-inf")).amax(1)


def cls_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """State of the first real position.

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).

    Returns:
        Shape (b, d).
    """
    return last_token_pool(hidden, mask.bool().int().argmax(1))


def soft_prompt_pool(hidden: Tensor, last: Tensor, p: int) -> Tensor:
    """Mean over the soft prompts, the complementary anchor of InstEmb.

    Args:
        hidden: Shape (b, t, d).
        last: Positions, shape (b,); the soft prompts stand at `last + 1` to `last + p`.
        p: Number of soft prompts.

    Returns:
        Shape (b, d).

    Raises:
        ConfigError: There are no soft prompts.
    """
    if p < 1:
        raise ConfigError(
            f"There is no soft prompt to pool: p={p!r}. At least 1 is needed. Use an encoder with "
            "soft prompts, or a pooling such as 'last_token' or 'mean'."
        )
    positions = last.unsqueeze(1) + torch.arange(1, p + 1, device=hidden.device)  # (b, p)
    return _wide(hidden[_rows(hidden).unsqueeze(1), positions]).mean(1)


def dual_anchor_average(primary: Tensor, complementary: Tensor) -> Tensor:
    """Dual-Anchor Alignment Pooling (InstEmb, ICML 2026): the average of the two unit anchors.

    Args:
        primary: Shape (b, d).
        complementary: Shape (b, d).

    Returns:
        Shape (b, d), of length at most 1.
    """
    return (_unit(primary) + _unit(complementary)) / 2


def dual_anchor_concat(primary: Tensor, complementary: Tensor) -> Tensor:
    """The two unit anchors side by side; the cosine of two results is the mean of both cosines.

    Args:
        primary: Shape (b, d).
        complementary: Shape (b, d).

    Returns:
        Shape (b, 2d).
    """
    return torch.cat([_unit(primary), _unit(complementary)], dim=-1)


def dual_anchor_gate(primary: Tensor, complementary: Tensor, gate: Tensor) -> Tensor:
    """A mixture of the two unit anchors, for each dimension.

    Args:
        primary: Shape (b, d).
        complementary: Shape (b, d).
        gate: Weight of the primary anchor in [0, 1], shape (d,) or (b, d).

    Returns:
        Shape (b, d).
    """
    return gate * _unit(primary) + (1 - gate) * _unit(complementary)


def latent_attention_pool(
    hidden: Tensor,
    mask: Tensor,
    latents: Tensor,
    *,
    up: Tensor,
    up_bias: Tensor,
    down: Tensor,
    down_bias: Tensor,
    heads: int,
) -> Tensor:
    """Latent attention (NV-Embed, Lee et al., 2024, section 3.1), added to the plain mean.

    Each token attends over the trainable latents, which are keys and values, and goes through a
    network of two linear layers; the mean over the real tokens follows. The tokens themselves are
    added as a residual, so that with `down` at zero the result is the plain mean.

    Args:
        hidden: Shape (b, t, d).
        mask: Shape (b, t).
        latents: Shape (r, d).
        up: Weights of the first layer, shape (h, d).
        up_bias: Shape (h,).
        down: Weights of the second layer, shape (d, h).
        down_bias: Shape (d,).
        heads: Attention heads; divides d.

    Returns:
        Shape (b, d).
    """
    # Padding may hold NaN, and NaN * 0 would spoil the gradient of the weights.
    tokens = _wide(_real_only(hidden, mask.bool()))
    queries = _split(functional.layer_norm(tokens, tokens.shape[-1:]), heads).transpose(1, 2)
    keys = (
        _split(latents, heads).transpose(0, 1).expand(len(hidden), -1, -1, -1)
    )  # (b, heads, r, _)
    attended = functional.scaled_dot_product_attention(queries, keys, keys)
    active = functional.gelu(functional.linear(attended.transpose(1, 2).flatten(2), up, up_bias))
    # The second layer is linear: after the mean it gives the same at a cost without t.
    return mean_pool(tokens, mask) + functional.linear(mean_pool(active, mask), down, down_bias)


def multi_layer_attention(
    layers: Tensor,
    *,
    layer_vectors: Tensor,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    output: Tensor,
    heads: int,
) -> Tensor:
    """Multi-Layers Trainable Pooling (Tang and Yang, 2024, arXiv 2409.02727).

    Trainable queries attend over the pooled states of all layers, to each of which the layer's own
    vector is added; the mean over the queries is projected. Two things differ from the paper. The
    last layer's state is added as a residual, so that with `output` at zero the result is that
    state. And states are scaled by layer normalisation first: in the middle of a causal model they
    are hundreds of times longer than at its end and would drown the layer vectors.

    Args:
        layers: Pooled state of each layer, shape (l, b, d).
        layer_vectors: Shape (l, d).
        queries: Shape (r, d).
        keys: Shape (d, d).
        values: Shape (d, d).
        output: Shape (d, d).
        heads: Attention heads; divides d.

    Returns:
        Shape (b, d).
    """
    layers = _wide(layers)
    states = functional.layer_norm(layers, layers.shape[-1:]) + layer_vectors.unsqueeze(1)
    asked, offered = _split(queries, heads), _split(functional.linear(states, keys), heads)
    logits = torch.einsum("qhe,lbhe->bhql", asked, offered) / asked.shape[-1] ** 0.5
    # Values enter linearly: averaging the weights over the queries averages the results.
    weights = logits.softmax(-1).mean(2)  # (b, heads, l)
    held = _split(functional.linear(states, values), heads)
    attended = torch.einsum("bhl,lbhe->bhe", weights, held).flatten(1)
    return layers[-1] + functional.linear(attended, output)


def _rows(hidden: Tensor) -> Tensor:
    return torch.arange(len(hidden), device=hidden.device)


def _real_only(hidden: Tensor, real: Tensor) -> Tensor:
    return hidden.masked_fill(~real.unsqueeze(-1), 0.0)


def _wide_type(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(_wide_type(tensor))


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(_wide(rows), dim=-1)


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(..., d) to (..., heads, d / heads)."""
    return tensor.reshape(*tensor.shape[:-1], heads, tensor.shape[-1] // heads)
