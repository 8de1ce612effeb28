"""The losses of training: pure functions on tensors; each loss is a scalar, float32.

Shapes: b rows of a batch, n candidates, d and e dimensions, s steps. All compute in float32,
whatever they are given and whatever autocast says: at a temperature of 0.05 the steps of bfloat16
around a cosine of 1 would move a logit by 0.08.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.transform.network import contrastive_loss

# Float32 tells losses near 0 apart in steps of 1e-7: ratios of smaller ones are rounding, and the
# logarithm of a loss of exactly 0, which well separated batches reach, is no number to subtract.
_FLOOR = 1e-6


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
    """
    scores = _cosines(anchors, candidates)  # (b, n)
    if excluded is not None:
        scores = scores.masked_fill(_without_own(excluded, positive), float("-inf"))
    return functional.cross_entropy(scores / temperature, positive, reduction="none").mean()


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
    """
    scores = _cosines(guide_anchors, guide_candidates)  # (b, n)
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
    """
    with _full_precision(anchors):
        return contrastive_loss(_unit(anchors), labels[:, None] == labels, temperature)


def iterative_refinement(step_losses: Tensor, *, weight: float = 1.0) -> Tensor:
    """Iterative contrastive refinement (GIRCSE, ICLR 2026, arXiv 2509.24291, section 3).

    `mean_k L_k + weight * mean_k relu(log L_(k+1) - log L_k)`, where L_k is the contrastive loss
    with the first k soft tokens pooled: every step learns, and a step that is worse than the one
    before costs extra. The paper sums the first part; with the mean its size, and so the right
    learning rate and the balance with other losses, does not depend on the number of steps.

    Args:
        step_losses: Loss after each step, shape (s,), none of them negative.
        weight: Factor of the second part.
    """
    losses = step_losses.float()
    if len(losses) == 1:
        return losses.mean()
    logs = losses.clamp(min=_FLOOR).log()
    return losses.mean() + weight * functional.relu(logs.diff()).mean()


def matryoshka(
    loss: Callable[[Tensor], Tensor],
    embeddings: Tensor,
    dimensions: Sequence[int],
    weights: Sequence[float] = (),
) -> Tensor:
    """Matryoshka representation learning (Kusupati et al., 2022, arXiv 2205.13147, section 3).

    Args:
        loss: From embeddings of any width to a scalar. It normalises them by itself, as those of
            this package do. Anchors and candidates go in one tensor and are parted inside.
        embeddings: Shape (..., d).
        dimensions: Widths to which they are cut, from the front; d itself is one where wanted.
        weights: Of the widths; none weigh all alike. They are divided by their sum: the size of
            the loss does not depend on how many there are.
    """
    factors = list(weights) or [1.0] * len(dimensions)
    losses = torch.stack([loss(embeddings[..., :size]) for size in dimensions]).float()
    return (losses.new_tensor(factors) / sum(factors) * losses).sum()


def representation_distillation(
    student: Tensor,
    teacher: Tensor,
    *,
    kind: Literal["cosine", "smooth_l1"] = "cosine",
    projection: nn.Linear | None = None,
) -> Tensor:
    """Representation distillation (InstEmb, ICML 2026).

    The student's soft prompts, which have not seen the answer, are pulled to the states that the
    teacher has after reading it.

    Args:
        student: Shape (b, d); further axes in front are as good.
        teacher: Shape (b, e); no gradient flows into it.
        kind: "cosine", one minus the cosine of each row, or "smooth_l1", quadratic below a
            difference of 1 and linear above, averaged over rows and dimensions.
        projection: From d to e dimensions; needed where they differ.
    """
    if projection is not None:
        with _full_precision(student):
            student = projection(student.to(projection.weight.dtype))
    student, teacher = student.float(), teacher.detach().float()
    if kind == "cosine":
        return (1 - (_unit(student) * _unit(teacher)).sum(-1)).mean()
    return functional.smooth_l1_loss(student, teacher)


def _full_precision(tensor: Tensor) -> torch.autocast:
    """A block without autocast on the tensor's device, so that products stay in float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, shape (..., d), float32; a row of zeros stays one."""
    return functional.normalize(rows.float(), dim=-1)


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of every row with every other: (b, d) and (n, d) to (b, n), float32."""
    with _full_precision(left):
        return _unit(left) @ _unit(right).transpose(-1, -2)


def _without_own(mask: Tensor, positive: Tensor) -> Tensor:
    return mask.scatter(1, positive[:, None], False)
