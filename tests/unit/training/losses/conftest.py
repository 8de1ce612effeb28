"""Rows to compute with by hand, and random ones."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def close(found: Tensor, expected: object, tolerance: float = 1e-5) -> None:
    """The numbers are equal, and in float32."""
    assert found.dtype == torch.float32
    wanted = torch.as_tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    """Random rows, shape (n, d)."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Cosine of two rows, number by number."""
    product = sum(x * y for x, y in zip(left, right, strict=True))
    return product / math.sqrt(sum(x * x for x in left) * sum(y * y for y in right))


def gradient(tensor: Tensor) -> Tensor:
    """The gradient, which must be finite."""
    assert tensor.grad is not None
    assert bool(tensor.grad.isfinite().all())
    return tensor.grad
