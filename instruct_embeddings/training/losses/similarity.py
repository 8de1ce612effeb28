"""Cosines in float32, the one measure that all losses share, and the checks of their arguments."""

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.errors import ConfigError


def full_precision(tensor: Tensor) -> torch.autocast:
    """A block without autocast on the tensor's device, so that products stay in float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1, shape (..., d), float32; a row of zeros stays one."""
    return functional.normalize(rows.float(), dim=-1)


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of every row with every other: (..., b, d) and (..., n, d) to (..., b, n), float32."""
    with full_precision(left):
        return unit(left) @ unit(right).transpose(-1, -2)


def cosine_distances(left: Tensor, right: Tensor) -> Tensor:
    """One minus the cosine, row by row: twice (..., d) to (...), float32, from 0 to 2."""
    return 1 - (unit(left) * unit(right)).sum(-1)


def check_temperature(temperature: float) -> None:
    """Raise ConfigError unless what cosines are divided by is positive."""
    if not temperature > 0:
        raise ConfigError(f"temperature must be a number > 0, got {temperature!r}")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ConfigError for a shape that would otherwise be broadcast; waits for no GPU."""
    if tuple(tensor.shape) != shape:
        raise ConfigError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
