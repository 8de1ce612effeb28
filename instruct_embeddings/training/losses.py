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
    `-log(exp(cos(anchor, own) / t) / sum_c exp(cos(anchor, c) / t))`. Which view of a row the
    candidates are decides the method: a second dropout pass is SimCSE (Gao et al., 2021, arXiv
    2104.08821, section 3), the embeddings of answers are InstEmb's.

    Anchors, shape (b, d); candidates, shape (n, d); the index of each row's own candidate, shape
    (b,); candidates that are no negatives of a row, shape (b, n), among which the own one does not
    count. A row without any negative has a loss and a gradient of 0.
    """
    scores = _cosines(anchors, candidates)  # (b, n)
    if excluded is not None:
        scores = scores.masked_fill(_without_own(excluded, positive), float("-inf"))
    return functional.cross_entropy(scores / temperature, positive, reduction="none").mean()


@torch.no_grad()
def guided_exclusions(
    guide_anchors: Tensor, guide_candidates: Tensor, positive: Tensor, *, margin: float = 0.0
) -> Tensor:
    """False negatives as a guide model sees them (GISTEmbed, Solatorio, 2024, arXiv 2402.16829).

    A candidate that the guide finds closer to a row than the row's own positive is likely to be
    right as well: it is excluded. The guide's embeddings of the rows, shape (b, d), and of the
    candidates, shape (n, d), and the index of each row's own one, shape (b,), to what is excluded,
    shape (b, n), never the own one. `margin` excludes candidates up to so much less similar, too;
    the paper has none. A negative one spares candidates that are a little more similar.
    """
    scores = _cosines(guide_anchors, guide_candidates)  # (b, n)
    own = scores.gather(1, positive[:, None])  # (b, 1)
    return _without_own(scores > own - margin, positive)


def supervised_contrastive(anchors: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al., 2020, arXiv 2004.11362, equation 2).

    All rows, shape (b, d), of the same label, shape (b,), are positives of each other; the
    logarithms are averaged over them, then over the rows that have one. 0 where none has.
    """
    with _full_precision(anchors):
        rows = _unit(anchors)
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        positive = (labels[:, None] == labels) & ~itself
        scores = (rows @ rows.T / temperature).masked_fill(itself, float("-inf"))  # (b, b)
        logs = scores - scores.logsumexp(1, keepdim=True)
        logs = logs.masked_fill(itself, 0.0)  # -inf * 0 is not a number
        counts = positive.sum(1)
        each = -(logs * positive).sum(1) / counts.clamp(min=1)  # (b,)
        return each[counts > 0].sum() / (counts > 0).sum().clamp(min=1)


def iterative_refinement(step_losses: Tensor, *, weight: float = 1.0) -> Tensor:
    """Iterative contrastive refinement (GIRCSE, ICLR 2026, arXiv 2509.24291, section 3).

    `mean_k L_k + weight * mean_k relu(log L_(k+1) - log L_k)`, where L_k, shape (s,), is the
    contrastive loss with the first k soft tokens pooled: every step learns, and a step that is
    worse than the one before costs extra. The paper sums the first part; with the mean its size,
    and so the right learning rate and the balance with other losses, does not depend on the number
    of steps.
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

    The mean of a loss over embeddings, shape (..., d), that are cut to each of the widths, from the
    front; the loss normalises them by itself. Weights are divided by their sum, so that its size
    does not depend on how many there are.
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

    The student's soft prompts, shape (..., d), which have not seen the answer, are pulled to the
    states that the teacher has after reading it, shape (..., e), into which no gradient flows:
    "cosine" is one minus the cosine of each row, "smooth_l1" quadratic below a difference of 1 and
    linear above. The projection from d to e dimensions is needed where they differ.
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
