"""Online hard-negative mixing: negatives between the hardest ones, without another text."""

import torch
from torch import Tensor

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses.checks import check_shape, check_temperature
from instruct_embeddings.training.losses.similarity import cosines, full_precision, unit


def mix_negatives(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    excluded: Tensor | None = None,
    count: int = 4,
    hardest: int = 16,
    *,
    temperature: float = 0.05,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Negatives mixed from the hardest candidates of each row (KaLM-Embedding-V2, 2025).

    Zhao et al., arXiv 2506.20923, mix the hard negatives of a row pair-wise and list-wise. Here a
    pair is mixed as by MoCHi (Kalantidis et al., 2020, arXiv 2010.01028, section 3): a convex
    combination with a uniform weight, at length 1 again. The list-wise mixture is the mean of all,
    weighted by a softmax of their cosines with the anchor. What is mixed and how much of it are
    constants; the gradient reaches the candidates through the mixture.

    Args:
        anchors: Shape (b, d).
        candidates: Shape (n, d).
        positive: Index of each row's own candidate, shape (b,), which is not mixed.
        excluded: Candidates that are no negatives of a row, bool, shape (b, n).
        count: Number of pair-wise mixtures.
        hardest: Number of candidates to mix from, those with the highest cosines.
        temperature: Of the softmax of the list-wise mixture.
        generator: Source of the pairs and their weights; None is the device's own.

    Returns:
        Unit rows, shape (b, m, d) with m = `count` + 1, float32, the list-wise mixture last. A row
        without negatives gets zeros, which `info_nce` reads as none.

    Raises:
        ConfigError: `count` is negative, `hardest` below 1, the temperature not positive, or shapes
            do not fit.
    """
    _check(count, hardest)
    check_temperature(temperature)
    check_shape("positive", positive, (len(anchors),))
    scores = cosines(anchors.detach(), candidates.detach())  # (b, n)
    if excluded is not None:
        check_shape("excluded", excluded, (len(anchors), len(candidates)))
        scores = scores.masked_fill(excluded, float("-inf"))
    scores = scores.scatter(1, positive[:, None], float("-inf"))
    scores, chosen = scores.topk(min(hardest, len(candidates)), dim=1)  # (b, h), h hardest
    usable = scores > float("-inf")
    weights = torch.cat(
        [_pair_weights(usable, count, generator), _list_weights(scores, usable, temperature)], dim=1
    )  # (b, m, h)
    with full_precision(anchors):
        return unit(weights @ unit(candidates)[chosen])


def _pair_weights(usable: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Weights of two different ones of the usable candidates, which stand first.

    Args:
        usable: Shape (b, h).
        count: Number of pairs.
        generator: Source of random numbers.

    Returns:
        Shape (b, count, h); rows of zeros where nothing is usable, one weight of 1 where one is.
    """
    b, h = usable.shape
    draws = torch.rand(3, b, count, device=usable.device, generator=generator)
    known = usable.sum(1, keepdim=True).clamp(min=1)  # (b, 1)
    first = (draws[0] * known).long().minimum(known - 1)  # the product may round up
    second = (first + 1 + (draws[1] * (known - 1)).long()) % known
    weights = torch.zeros(b, count, h, device=usable.device)
    weights.scatter_add_(2, first[..., None], draws[2, ..., None])
    weights.scatter_add_(2, second[..., None], 1 - draws[2, ..., None])
    return weights * usable[:, None]


def _list_weights(scores: Tensor, usable: Tensor, temperature: float) -> Tensor:
    """Softmax over the usable candidates, shape (b, 1, h); zeros where there is none."""
    weights = (scores / temperature).softmax(dim=1)
    return weights.where(usable, 0.0)[:, None]  # a softmax of nothing is not a number


def _check(count: int, hardest: int) -> None:
    if count < 0 or hardest < 1:
        raise ConfigError(
            f"count={count!r} and hardest={hardest!r} ask for a mixture that does not exist. count "
            "is at least 0 and hardest at least 1. Use for example count=4 and hardest=16."
        )
