"""Losses on parts of an embedding, so that fewer dimensions or layers are of use alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from instruct_embeddings.errors import ConfigError


def matryoshka(
    loss: Callable[[Tensor], Tensor],
    embeddings: Tensor,
    dimensions: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Matryoshka representation learning (Kusupati et al., 2022, arXiv 2205.13147, section 3).

    Args:
        loss: From embeddings of any width to a scalar. It normalises them by itself, as those of
            this package do. Anchors and candidates go in one tensor and are parted inside.
        embeddings: Shape (..., d).
        dimensions: Widths to which they are cut, from the front; d itself is one where wanted.
        weights: Of the widths; None weighs all alike. They are divided by their sum: the size of
            the loss does not depend on how many there are.

    Returns:
        The weighted mean, a scalar.

    Raises:
        ConfigError: No width, one out of range, or weights that do not fit.
    """
    for dimension in dimensions:
        _check_width(dimension, embeddings)
    losses = [loss(embeddings[..., :dimension]) for dimension in dimensions]
    return _weighted_mean(losses, weights, "dimensions")


def layer_truncation(
    loss: Callable[[Tensor], Tensor],
    layers: Sequence[Tensor],
    *,
    dimensions: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """The same loss on the embeddings of several layers (Li et al., 2024, arXiv 2402.14776).

    With `dimensions`, each layer is cut to a width of its own: the fixed pairs of Starbucks
    (Zhuang et al., 2024, arXiv 2410.13230). That paper's distillation from the full model is
    `similarity_distillation(layer, last, temperature)`, added by the caller.

    Args:
        loss: As for `matryoshka`.
        layers: Embeddings pooled at each layer, shape (..., d).
        dimensions: Width of each layer's embeddings; None leaves them whole.
        weights: Of the layers, divided by their sum; None weighs all alike.

    Returns:
        The weighted mean, a scalar.

    Raises:
        ConfigError: No layer, a width out of range, or numbers of entries that differ.
    """
    widths = [layer.shape[-1] for layer in layers] if dimensions is None else list(dimensions)
    if len(widths) != len(layers):
        raise ConfigError(
            f"dimensions has {len(widths)} entries for {len(layers)} layers. Each layer needs one. "
            "Give as many, or None to leave the embeddings whole."
        )
    for layer, width in zip(layers, widths, strict=True):
        _check_width(width, layer)
    losses = [loss(layer[..., :width]) for layer, width in zip(layers, widths, strict=True)]
    return _weighted_mean(losses, weights, "layers")


def _check_width(dimension: int, embeddings: Tensor) -> None:
    if not 1 <= dimension <= embeddings.shape[-1]:
        raise ConfigError(
            f"Embeddings of {embeddings.shape[-1]} dimensions cannot be cut to {dimension!r}. "
            f"Use widths from 1 to {embeddings.shape[-1]}."
        )


def _weighted_mean(losses: list[Tensor], weights: Sequence[float] | None, name: str) -> Tensor:
    factors = [1.0] * len(losses) if weights is None else list(weights)
    if not losses or len(factors) != len(losses) or min(factors) < 0 or not sum(factors) > 0:
        raise ConfigError(
            f"weights={weights!r} do not fit {len(losses)} {name}. At least one of {name} is "
            "needed, and a weight for each: none negative, not all 0. Or leave weights out."
        )
    stacked = torch.stack(losses).float()  # (number of parts,)
    shares = stacked.new_tensor(factors) / sum(factors)
    return (shares * stacked).sum()
