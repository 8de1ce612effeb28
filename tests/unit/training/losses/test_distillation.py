import pytest
import torch
from torch import nn

from instruct_embeddings.training.losses import representation_distillation
from tests.unit.training.losses.conftest import close, gradient, rows


def test_the_cosine_distance_is_0_along_1_across_and_2_against() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    teacher = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, -1.0]])
    for row, distance in enumerate([0.0, 1.0, 2.0]):
        close(representation_distillation(student[row : row + 1], teacher[row : row + 1]), distance)
    close(representation_distillation(student, teacher), 1.0)


def test_smooth_l1_is_quadratic_below_1_and_linear_above() -> None:
    """Differences 0.5 and 3: 0.5 * 0.25 and 3 - 0.5, averaged over the two dimensions."""
    student, teacher = torch.tensor([[0.5, 3.0]]), torch.zeros(1, 2)
    close(representation_distillation(student, teacher, kind="smooth_l1"), (0.125 + 2.5) / 2)


def test_a_projection_carries_the_student_to_the_teachers_width() -> None:
    projection = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    loss = representation_distillation(student, teacher, projection=projection)
    loss.backward()
    close(loss, 1.0)
    assert gradient(projection.weight).any()


def test_states_of_several_soft_prompts_count_alike() -> None:
    student, teacher = rows(6, 4), rows(6, 4, 1)
    flat = representation_distillation(student, teacher)
    close(representation_distillation(student.view(2, 3, 4), teacher.view(2, 3, 4)), flat)


@pytest.mark.parametrize("kind", ["cosine", "smooth_l1"])
def test_no_gradient_flows_into_the_teacher(kind: str) -> None:
    student, teacher = rows(2, 3).requires_grad_(), rows(2, 3, 1).requires_grad_()
    representation_distillation(student, teacher, kind=kind).backward()
    assert gradient(student).any()
    assert teacher.grad is None


def test_half_precision_is_widened_first_also_under_autocast() -> None:
    student, teacher = rows(5, 8).bfloat16(), rows(5, 8, 1).bfloat16()
    projection = nn.Linear(8, 8)
    expected = representation_distillation(student.float(), teacher.float(), projection=projection)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = representation_distillation(student, teacher, projection=projection)
    close(found, expected, 1e-6)
