import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import (
    representation_distillation,
    similarity_distillation,
)
from tests.unit.training.losses.conftest import close, cosine, gradient, rows


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
    loss = representation_distillation(student, teacher, kind=kind)
    (loss + similarity_distillation(student, teacher, 0.1)).backward()
    assert gradient(student).any()
    assert teacher.grad is None


def test_half_precision_is_widened_first_also_under_autocast() -> None:
    student, teacher = rows(5, 8).bfloat16(), rows(5, 8, 1).bfloat16()
    projection = nn.Linear(8, 8)
    expected = [
        representation_distillation(student.float(), teacher.float(), projection=projection),
        similarity_distillation(student.float(), teacher.float(), 0.05),
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [
            representation_distillation(student, teacher, projection=projection),
            similarity_distillation(student, teacher, 0.05),
        ]
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-6)


def test_unequal_widths_and_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="Give a projection from 2 to 3 dimensions"):
        representation_distillation(rows(1, 2), rows(1, 3))
    with pytest.raises(ConfigError, match=r"kind='l2' is not known. Use one of \['cosine'"):
        representation_distillation(rows(1, 2), rows(1, 2), kind="l2")
    with pytest.raises(ConfigError, match=r"teacher has the shape \(3, 2\)"):
        similarity_distillation(rows(2, 2), rows(3, 2), 0.1)


def naive_divergence(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """The divergence of the neighbours, one pair at a time."""

    def neighbours(matrix: list[list[float]], i: int) -> list[float]:
        parts = [
            math.exp(cosine(matrix[i], row) / temperature) for j, row in enumerate(matrix) if j != i
        ]
        return [part / sum(parts) for part in parts]

    total = 0.0
    for i in range(len(student)):
        wanted, found = (neighbours(m.tolist(), i) for m in (teacher, student))
        total += sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True))
    return total / len(student)


def test_neighbours_by_hand() -> None:
    """Only the first row's neighbours differ: 1/2 and 1/2 for the student, e and 1 over e + 1.

    The second and third row see: student (0, -1) and (0, -1), teacher (1, 0) and (0, 0).
    """
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    p = math.e / (math.e + 1)
    first = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    third = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    close(similarity_distillation(student, teacher, 1.0), (first + 0.0 + third) / 3)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.05, 2))
def test_the_divergence_of_neighbours_equals_a_loop(seed: int, temperature: float) -> None:
    student, teacher = rows(4, 3, seed), rows(4, 5, seed + 1)
    expected = naive_divergence(student, teacher, temperature)
    close(similarity_distillation(student, teacher, temperature), expected, 1e-3)


@given(seed=st.integers(0, 1000))
def test_a_turned_teacher_has_the_same_neighbours(seed: int) -> None:
    teacher = rows(4, 3, seed)
    turn = torch.linalg.qr(rows(3, 3, seed + 1)).Q
    close(similarity_distillation(teacher @ turn, teacher, 0.1), 0.0, 1e-4)


def test_a_single_row_has_no_neighbours() -> None:
    student = rows(1, 3).requires_grad_()
    loss = similarity_distillation(student, rows(1, 3, 1), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert not gradient(student).any()
