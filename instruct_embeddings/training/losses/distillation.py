"""Distillation: a student learns the states, or the neighbours, that a frozen teacher has."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses.checks import check_shape, check_temperature
from instruct_embeddings.training.losses.similarity import (
    cosine_distances,
    cosines,
    full_precision,
)


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

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: Unknown kind, or shapes do not fit.
    """
    if projection is not None:
        with full_precision(student):
            student = projection(student.to(projection.weight.dtype))
    if student.shape != teacher.shape:
        raise ConfigError(
            f"Student states of shape {tuple(student.shape)} cannot be compared with teacher "
            f"states of shape {tuple(teacher.shape)}. Both need the same shape. Give a projection "
            f"from {student.shape[-1]} to {teacher.shape[-1]} dimensions, or pool both alike."
        )
    student, teacher = student.float(), teacher.detach().float()
    if kind == "cosine":
        return cosine_distances(student, teacher).mean()
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(student, teacher)
    raise ConfigError(f"kind={kind!r} is not known. Use one of ['cosine', 'smooth_l1'].")


def similarity_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distil which rows of the batch are neighbours, whatever the widths.

    For each row, the cosines with the other rows over the temperature become probabilities by a
    softmax; the loss is the divergence KL(teacher || student) of them, averaged over the rows.
    Neighbourhoods as probabilities, the row itself left out, are Passalis and Tefas's (2018, arXiv
    1803.10837, section 3); the softmax with a temperature is SEED's (Fang et al., 2021, arXiv
    2101.04731, section 3).

    Args:
        student: Shape (b, d).
        teacher: Shape (b, e); no gradient flows into it.
        temperature: Divides the cosines of both.

    Returns:
        A scalar, float32; 0 for a single row, which has no neighbours.

    Raises:
        ConfigError: The temperature is not positive, or the numbers of rows differ.
    """
    check_temperature(temperature)
    check_shape("teacher", teacher, (len(student), teacher.shape[-1]))
    logs = _neighbours(student, temperature)
    wanted = _neighbours(teacher.detach(), temperature)
    return functional.kl_div(logs, wanted, reduction="none", log_target=True).sum(1).mean()


def _neighbours(rows: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of the other rows, shape (b, b - 1)."""
    b = len(rows)
    others = ~torch.eye(b, dtype=torch.bool, device=rows.device)
    scores = cosines(rows, rows)[others].view(b, max(b - 1, 0))
    return functional.log_softmax(scores / temperature, dim=1)
