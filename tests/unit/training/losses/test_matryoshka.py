import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from instruct_embeddings.training.losses import info_nce, matryoshka
from tests.unit.training.losses.conftest import close, gradient, rows

ROW = torch.tensor([[1.0, 2.0, 4.0]])


def total(embeddings: Tensor) -> Tensor:
    return embeddings.sum()


def test_the_loss_is_averaged_over_the_widths() -> None:
    close(matryoshka(total, ROW, [3, 1]), (7 + 1) / 2)
    close(matryoshka(total, ROW, [3, 1], weights=[1, 3]), (7 + 3 * 1) / 4)


def test_the_full_width_alone_is_the_plain_loss() -> None:
    close(matryoshka(total, ROW, [3], weights=[0.2]), 7.0)


def test_front_dimensions_learn_from_every_width_that_holds_them() -> None:
    leaf = ROW.clone().requires_grad_()
    matryoshka(total, leaf, [1, 2]).backward()
    close(gradient(leaf), [[1.0, 0.5, 0.0]])


@given(seed=st.integers(0, 1000), order=st.permutations([2, 4, 8]))
def test_the_order_of_the_widths_makes_no_difference(seed: int, order: list[int]) -> None:
    both = torch.cat([rows(3, 8, seed), rows(3, 8, seed + 1)])

    def loss(embeddings: Tensor) -> Tensor:
        return info_nce(embeddings[:3], embeddings[3:], torch.arange(3), temperature=0.1)

    expected = sum(loss(both[:, :d]) for d in (2, 4, 8)) / 3
    close(matryoshka(loss, both, order), expected, 1e-4)
