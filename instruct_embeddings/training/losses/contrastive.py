"""Contrastive losses: pull a row to its positive and push it from everything else."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.training.losses.checks import check_shape, check_temperature
from instruct_embeddings.training.losses.similarity import cosines, full_precision, unit
from instruct_embeddings.transform.network import contrastive_loss


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    *,
    temperature: float,
    excluded: Tensor | None = None,
    negatives: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean of `info_nce_rows`, or of the weighted rows.

    Args:
        anchors: Shape (b, d).
        candidates: Shape (n, d).
        positive: Index of each row's own candidate, shape (b,).
        temperature: Divides the cosines.
        excluded: Candidates that are no negatives of a row, bool, shape (b, n).
        negatives: Further negatives of each row, shape (b, m, d).
        weights: Factors of the rows, shape (b,). The sum is divided by b, not by their sum: easy
            rows are to count less, not hard ones more (Lin et al., 2017, section 3.2).

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: The temperature is not positive, or shapes do not fit.
    """
    rows = info_nce_rows(
        anchors,
        candidates,
        positive,
        temperature=temperature,
        excluded=excluded,
        negatives=negatives,
    )
    if weights is not None:
        check_shape("weights", weights, (len(anchors),))
        rows = weights.float() * rows
    return rows.mean()


def info_nce_rows(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    *,
    temperature: float,
    excluded: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """InfoNCE (van den Oord et al., 2018, arXiv 1807.03748, equation 4) with cosines.

    With t the temperature, c the candidates that are not excluded and the further negatives:
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
        negatives: Further negatives of each row, shape (b, m, d); zeros stand for none.

    Returns:
        Shape (b,), float32.

    Raises:
        ConfigError: The temperature is not positive, or shapes do not fit.
    """
    check_temperature(temperature)
    check_shape("positive", positive, (len(anchors),))
    scores = cosines(anchors, candidates)  # (b, n)
    if excluded is not None:
        check_shape("excluded", excluded, (len(anchors), len(candidates)))
        scores = scores.masked_fill(_spare(excluded, positive), float("-inf"))
    if negatives is not None:
        further = cosines(anchors[:, None], negatives)[:, 0]  # (b, m)
        further = further.masked_fill((negatives == 0).all(-1), float("-inf"))
        scores = torch.cat([scores, further], dim=1)  # (b, n + m)
    return functional.cross_entropy(scores / temperature, positive, reduction="none")


def same_answer_mask(
    answers: Sequence[int] | Tensor,
    candidates: Sequence[int] | Tensor,
    positive: Tensor | None = None,
) -> Tensor:
    """Candidates that answer like a row, and so are no negatives of it.

    Args:
        answers: Number of each row's answer, shape (b,).
        candidates: Number of each candidate's answer, shape (n,).
        positive: Index of each row's own candidate, shape (b,), which is then left out of the mask.
            `info_nce` spares it anyway.

    Returns:
        True where the answers are equal, shape (b, n).
    """
    device = None if positive is None else positive.device
    rows = torch.as_tensor(answers, device=device)
    same = rows[:, None] == torch.as_tensor(candidates, device=rows.device)
    return same if positive is None else _spare(same, positive)


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


def _spare(mask: Tensor, positive: Tensor) -> Tensor:
    """The mask, False at each row's own candidate; shape (b, n)."""
    return mask.scatter(1, positive[:, None], False)
