"""Matryoshka: a loss on the first dimensions too, so that they are of use alone."""

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
    width = embeddings.shape[-1]
    if not dimensions or not 1 <= min(dimensions) <= max(dimensions) <= width:
        raise ConfigError(f"dimensions must be integers from 1 to {width}, got {list(dimensions)}")
    factors = [1.0] * len(dimensions) if weights is None else list(weights)
    if len(factors) != len(dimensions) or min(factors) < 0 or not sum(factors) > 0:
        raise ConfigError(
            f"weights must be {len(dimensions)} numbers >= 0, not all 0, got {weights!r}"
        )
    losses = torch.stack([loss(embeddings[..., :size]) for size in dimensions]).float()
    return (losses.new_tensor(factors) / sum(factors) * losses).sum()
