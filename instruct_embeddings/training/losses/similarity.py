"""Cosines in float32: the one measure that all losses share."""

import torch
from torch import Tensor
from torch.nn import functional


def full_precision(tensor: Tensor) -> torch.autocast:
    """A block without autocast, which would take a product of float32 numbers in half precision.

    Args:
        tensor: Any tensor on the device in question.
    """
    return torch.autocast(tensor.device.type, enabled=False)


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays one.

    Args:
        rows: Shape (..., d).

    Returns:
        Shape (..., d), float32.
    """
    return functional.normalize(rows.float(), dim=-1)


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of every row with every other.

    Args:
        left: Shape (..., b, d).
        right: Shape (..., n, d).

    Returns:
        Shape (..., b, n), float32.
    """
    with full_precision(left):
        return unit(left) @ unit(right).transpose(-1, -2)


def cosine_distances(left: Tensor, right: Tensor) -> Tensor:
    """One minus the cosine, row by row.

    Args:
        left: Shape (..., d).
        right: Shape (..., d).

    Returns:
        Shape (...), float32, from 0 to 2.
    """
    return 1 - (unit(left) * unit(right)).sum(-1)
