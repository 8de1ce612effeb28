"""Focal reweighting: rows that are ranked right already count less."""

import torch
from torch import Tensor

from instruct_embeddings.errors import ConfigError


@torch.no_grad()
def focal_weights(row_losses: Tensor, gamma: float = 0.5) -> Tensor:
    """Focal-style weights (KaLM-Embedding-V2, Zhao et al., 2025, arXiv 2506.20923).

    `(1 - p)^gamma`, with p = exp(-loss) the probability that InfoNCE gives to a row's own positive
    (Lin et al., 2017, arXiv 1708.02002, equation 4). The weights are constants: the derivative of
    a power below 1 is infinite at a loss of 0.

    Args:
        row_losses: What `info_nce_rows` returned, shape (b,), none of them negative.
        gamma: 0 weighs all rows alike, more leaves easy rows less.

    Returns:
        Weights from 0 to 1, shape (b,), float32.

    Raises:
        ConfigError: `gamma` is negative.
    """
    if not gamma >= 0:
        raise ConfigError(f"gamma={gamma!r} is negative. Use 0 for equal weights, or 0.5.")
    # 1 - exp(-loss) would be rounded to 0 for losses that float32 still tells apart.
    wrong: Tensor = -torch.expm1(-row_losses.float())
    return wrong.clamp(0, 1) ** gamma
