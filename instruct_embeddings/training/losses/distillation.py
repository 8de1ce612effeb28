"""Distillation: a student learns the states that a frozen teacher has."""

from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses.similarity import cosine_distances, full_precision


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
            f"student and teacher must have the same shape, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}; pass a projection from {student.shape[-1]} to "
            f"{teacher.shape[-1]} dimensions, or pool both alike"
        )
    student, teacher = student.float(), teacher.detach().float()
    if kind == "cosine":
        return cosine_distances(student, teacher).mean()
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(student, teacher)
    raise ConfigError(f"kind must be 'cosine' or 'smooth_l1', got {kind!r}")
