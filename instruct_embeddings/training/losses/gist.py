"""Guided selection of negatives: another model says which candidates are no negatives."""

import torch
from torch import Tensor

from instruct_embeddings.training.losses.checks import check_shape
from instruct_embeddings.training.losses.similarity import cosines


@torch.no_grad()
def guided_exclusions(
    guide_anchors: Tensor,
    guide_candidates: Tensor,
    positive: Tensor,
    *,
    margin: float = 0.0,
) -> Tensor:
    """False negatives as a guide sees them (GISTEmbed, Solatorio, 2024, arXiv 2402.16829).

    A candidate that the guide finds closer to a row than the row's own positive is likely to be
    right as well: it is excluded.

    Args:
        guide_anchors: The guide's embeddings of the rows, shape (b, d).
        guide_candidates: The guide's embeddings of the candidates, shape (n, d).
        positive: Index of each row's own candidate, shape (b,).
        margin: Excludes candidates up to so much less similar than the own positive, too; the
            paper has none. A negative one spares candidates that are a little more similar.

    Returns:
        True where a candidate is excluded, never at the own one; shape (b, n).

    Raises:
        ConfigError: Shapes do not fit.
    """
    check_shape("positive", positive, (len(guide_anchors),))
    scores = cosines(guide_anchors, guide_candidates)  # (b, n)
    own = scores.gather(1, positive[:, None])  # (b, 1)
    return (scores > own - margin).scatter(1, positive[:, None], False)
