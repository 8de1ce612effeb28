"""Contrastive losses: pull a row to its positive and push it from everything else."""

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.training.losses.similarity import (
    check_shape,
    check_temperature,
    cosines,
    full_precision,
    unit,
)
from instruct_embeddings.transform.network import contrastive_loss


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    *,
    temperature: float,
    excluded: Tensor | None = None,
) -> Tensor:
    """InfoNCE (van den Oord et al., 2018, arXiv 1807.03748, equation 4) with cosines.

    With t the temperature and c the candidates that are not excluded, the mean over the rows of
    `-log(exp(cos(anchor, own) / t) / sum_c exp(cos(anchor, c) / t))`.

    Which view of a row the candidates are decides the method: a second dropout pass is SimCSE (Gao
    et al., 2021, arXiv 2104.08821, section 3), the embeddings of answers are InstEmb's.

    Args:
        anchors: Shape (b, d).
        candidates: Shape (n, d).
        positive: Index of each row's own candidate, shape (b,).
        temperature: Divides the cosines.
        excluded: Candidates that are no negatives of a row, bool, shape (b, n). The own candidate
            always stays. A row without any negative has a loss and a gradient of 0.

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: The temperature is not positive, or shapes do not fit.
    """
    check_temperature(temperature)
    check_shape("positive", positive, (len(anchors),))
    scores = cosines(anchors, candidates)  # (b, n)
    if excluded is not None:
        check_shape("excluded", excluded, (len(anchors), len(candidates)))
        scores = scores.masked_fill(_without_own(excluded, positive), float("-inf"))
    return functional.cross_entropy(scores / temperature, positive, reduction="none").mean()


def same_answer_mask(answers: Tensor, candidates: Tensor) -> Tensor:
    """Candidates that answer like a row, and so are no negatives of it.

    Args:
        answers: Number of each row's answer, shape (b,).
        candidates: Number of each candidate's answer, shape (n,).

    Returns:
        True where the answers are equal, shape (b, n).
    """
    return answers[:, None] == candidates


@torch.no_grad()
def guided_exclusions(
    guide_anchors: Tensor,
    guide_candidates: Tensor,
    positive: Tensor,
    *,
    margin: float = 0.0,
) -> Tensor:
    """False negatives as a guide model sees them (GISTEmbed, Solatorio, 2024, arXiv 2402.16829).

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
    return _without_own(scores > own - margin, positive)


def supervised_contrastive(anchors: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al., 2020, arXiv 2004.11362, equation 2).

    All rows of the same label are positives of each other; the logarithms are averaged over them.

    Args:
        anchors: Shape (b, d).
        labels: Number of each row's label, shape (b,).
        temperature: Divides the cosines.

    Returns:
        Mean over the rows that have a positive, a scalar, float32; 0 where none has.

    Raises:
        ConfigError: The temperature is not positive, or shapes do not fit.
    """
    check_temperature(temperature)
    check_shape("labels", labels, (len(anchors),))
    with full_precision(anchors):
        return contrastive_loss(unit(anchors), labels[:, None] == labels, temperature)


def _without_own(mask: Tensor, positive: Tensor) -> Tensor:
    return mask.scatter(1, positive[:, None], False)
