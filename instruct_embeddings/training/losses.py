"""The losses of training: pure functions on tensors; each loss is a scalar, float32.

Shapes: b rows of a batch, n candidates, d and e dimensions, s steps. All compute in float32,
whatever they are given and whatever autocast says: at a temperature of 0.05 the steps of bfloat16
around a cosine of 1 would move a logit by 0.08. What does not fit, shapes, weights or a temperature
that is not positive, raises ConfigError.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.errors import ConfigError
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
    _check_temperature(temperature)
    _check_shape("positive", positive, (len(anchors),))
    scores = _cosines(anchors, candidates)  # (b, n)
    if excluded is not None:
        _check_shape("excluded", excluded, (len(anchors), len(candidates)))
        scores = scores.masked_fill(_without_own(excluded, positive), float("-inf"))
    return functional.cross_entropy(scores / temperature, positive, reduction="none").mean()


def same_answer_mask(answers: Tensor, candidates: Tensor) -> Tensor:
    """Candidates that answer like a row, and so are no negatives of it, shape (b, n).

    Numbers of the answers of rows, shape (b,), and of candidates, shape (n,).
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
    """
    _check_shape("positive", positive, (len(guide_anchors),))
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
    _check_temperature(temperature)
    _check_shape("labels", labels, (len(anchors),))
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
    if step_losses.dim() != 1 or not len(step_losses):
        raise ConfigError(
            f"step_losses must have shape (s,) with s >= 1, got {tuple(step_losses.shape)}"
        )
    losses = step_losses.float()
    if len(losses) == 1:
        return losses.mean()
    logs = losses.clamp(min=_FLOOR).log()
    return losses.mean() + weight * functional.relu(logs.diff()).mean()


def matryoshka(
    loss: Callable[[Tensor], Tensor],
    embeddings: Tensor,
    dimensions: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Matryoshka representation learning (Kusupati et al., 2022, arXiv 2205.13147, section 3).

    Args:
        loss: From embeddings of any width to a scalar. It normalises them by itself, as those of
            this package do. Anchors and candidates go in one tensor and are parted inside.
        embeddings: Shape (..., d).
        dimensions: Widths to which they are cut, from the front; d itself is one where wanted.
        weights: Of the widths; None weighs all alike. They are divided by their sum: the size of
            the loss does not depend on how many there are.
    """
    width = embeddings.shape[-1]
    if not dimensions or not 1 <= min(dimensions) <= max(dimensions) <= width:
        raise ConfigError(f"dimensions must be integers from 1 to {width}, got {list(dimensions)}")
    factors = [1.0] * len(dimensions) if weights is None else list(weights)
    if len(factors) != len(dimensions) or min(factors) < 0 or not sum(factors) > 0:
        raise ConfigError(
            f"weights must be {len(dimensions)} numbers >= 0, not all 0, got {weights!r}"
        )
    losses = torch.stack([loss(embeddings[..., :size]) for size in dimensions]).float()
    return (losses.new_tensor(factors) / sum(factors) * losses).sum()


def representation_distillation(
    student: Tensor,
    teacher: Tensor,
    *,
    kind: str = "cosine",
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
    if student.shape != teacher.shape:
        raise ConfigError(
            f"student and teacher must have the same shape, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}; pass a projection from {student.shape[-1]} to "
            f"{teacher.shape[-1]} dimensions, or pool both alike"
        )
    student, teacher = student.float(), teacher.detach().float()
    if kind == "cosine":
        return _cosine_distances(student, teacher).mean()
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(student, teacher)
    raise ConfigError(f"kind must be 'cosine' or 'smooth_l1', got {kind!r}")


def drift(student: Tensor, frozen: Tensor) -> Tensor:
    """Keeping the generic space: the mean cosine distance to the model before training.

    The embedding distillation of Goswami et al., "Query Drift Compensation" (CoLLAs 2025, arXiv
    2506.00037): vectors stored before training stay of use after it.

    Args:
        student: Embeddings without an instruction, shape (b, d).
        frozen: Those of the model before training, shape (b, d); no gradient flows into them.
    """
    return representation_distillation(student, frozen)


@torch.no_grad()
def drift_vector(old: Tensor, new: Tensor) -> Tensor:
    """The mean way, shape (d,), that unit embeddings of the same texts went during training.

    Embeddings before training and after it, shape (n, d).
    """
    _check_shape("new", new, tuple(old.shape))
    return (_unit(new) - _unit(old)).mean(0)


@torch.no_grad()
def compensate(new: Tensor, vector: Tensor) -> Tensor:
    """Queries of the trained model, shape (b, d), moved back to where the stored vectors are.

    `vector` is what `drift_vector` returned, shape (d,); the rows returned have unit length.
    """
    return _unit(_unit(new) - vector.float())


def _full_precision(tensor: Tensor) -> torch.autocast:
    """A block without autocast on the tensor's device, so that products stay in float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, shape (..., d), float32; a row of zeros stays one."""
    return functional.normalize(rows.float(), dim=-1)


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of every row with every other: (..., b, d) and (..., n, d) to (..., b, n), float32."""
    with _full_precision(left):
        return _unit(left) @ _unit(right).transpose(-1, -2)


def _cosine_distances(left: Tensor, right: Tensor) -> Tensor:
    """One minus the cosine, row by row: twice (..., d) to (...), float32, from 0 to 2."""
    return 1 - (_unit(left) * _unit(right)).sum(-1)


def _check_temperature(temperature: float) -> None:
    """Raise ConfigError unless what cosines are divided by is positive."""
    if not temperature > 0:
        raise ConfigError(f"temperature must be a number > 0, got {temperature!r}")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ConfigError for a shape that would otherwise be broadcast; waits for no GPU."""
    if tuple(tensor.shape) != shape:
        raise ConfigError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")


def _without_own(mask: Tensor, positive: Tensor) -> Tensor:
    return mask.scatter(1, positive[:, None], False)
