"""Gradients chunk by chunk equal those of the whole batch, dropout included."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from instruct_embeddings.training.batch_step import cached_backward
from instruct_embeddings.training.losses import info_nce, iterative_refinement


class Tower(nn.Module):
    """A model with dropout whose outputs have the batch on the first or the second axis."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 4)
        self.dropout = nn.Dropout(dropout)
        self.calls = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        hidden = self.dropout(self.first(x).tanh())
        steps = torch.stack([self.second(hidden), self.second(2 * hidden)])  # (2, b, 4)
        return {
            "steps": steps,
            "unused": hidden,
            "frozen": x[:, :4].detach(),
            "number": torch.arange(len(x))[:, None].float(),
        }


def model(dropout: float = 0.0) -> Tower:
    torch.manual_seed(0)
    return Tower(dropout)


def texts(n: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


def loss(outputs: dict[str, Tensor]) -> Tensor:
    """A loss in which every row meets all others."""
    own = torch.arange(outputs["steps"].shape[1])
    steps = [info_nce(z, outputs["frozen"], own, temperature=0.2) for z in outputs["steps"]]
    return iterative_refinement(torch.stack(steps))


def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {
        name: torch.cat([part[name] for part in parts], dim=1 if name == "steps" else 0)
        for name in parts[0]
    }


def gradients(tower: nn.Module) -> list[Tensor]:
    return [p.grad for p in tower.parameters() if p.grad is not None]


def plain(tower: Tower, chunks: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients with all activations in memory."""
    value = loss(joined([tower(chunk) for chunk in chunks]))
    value.backward()
    return value.detach(), gradients(tower)


def same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 100))
def test_gradients_equal_those_of_the_whole_batch(sizes: list[int], seed: int) -> None:
    batch = texts(sum(sizes), seed)
    expected = plain(whole := model(), [batch])
    tower = model()
    found: list[Tensor] = []
    cached_backward(tower, batch.split(sizes), lambda given: found.append(loss(given)) or found[0])
    torch.testing.assert_close(found[0].detach(), expected[0])
    same(gradients(tower), expected[1])
    assert whole.calls == 1
    assert tower.calls == (1 if len(sizes) == 1 else 2 * len(sizes))


def test_dropout_draws_the_same_in_both_passes() -> None:
    chunks = list(texts(7).split([3, 3, 1]))
    tower, cached = model(dropout=0.5), model(dropout=0.5)
    torch.manual_seed(5)
    expected = plain(tower, chunks)
    torch.manual_seed(5)
    cached_backward(cached, chunks, loss)
    same(gradients(cached), expected[1])


def test_random_numbers_go_on_as_if_chunks_had_been_encoded_once() -> None:
    def random_loss(outputs: dict[str, Tensor]) -> Tensor:
        return loss(outputs) * torch.rand(())

    chunks = list(texts(6).split(2))
    tower, cached = model(dropout=0.5), model(dropout=0.5)
    torch.manual_seed(5)
    random_loss(joined([tower(chunk) for chunk in chunks])).backward()
    expected = torch.rand(3)
    torch.manual_seed(5)
    cached_backward(cached, chunks, random_loss)
    assert torch.equal(torch.rand(3), expected)
    same(gradients(cached), gradients(tower))


def test_gradients_are_added_to_those_that_are_there() -> None:
    chunks = list(texts(4).split(2))
    _, expected = plain(model(), chunks)
    tower = model()
    for _ in range(2):
        cached_backward(tower, chunks, loss)
    same(gradients(tower), [2 * gradient for gradient in expected])


def test_parameters_of_the_loss_learn_too() -> None:
    torch.manual_seed(0)
    projection = nn.Linear(4, 4)

    def projected(outputs: dict[str, Tensor]) -> Tensor:
        return loss(outputs | {"steps": projection(outputs["steps"])})

    chunks = list(texts(4).split(2))
    tower = model()
    projected(joined([tower(chunk) for chunk in chunks])).backward()
    expected = gradients(tower), gradients(projection)
    projection.zero_grad()
    cached = model()
    cached_backward(cached, chunks, projected)
    same(gradients(cached), expected[0])
    torch.testing.assert_close(gradients(projection), expected[1])


def test_half_precision_weights_of_the_first_pass_do_not_cut_the_graph() -> None:
    chunks = list(texts(4).split(2))
    tower, cached = model(), model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain(tower, chunks)
        cached_backward(cached, chunks, loss)
    for one, other in zip(gradients(cached), gradients(tower), strict=True):
        assert bool(other.any())
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_dropout_on_a_cuda_device_draws_the_same_in_both_passes() -> None:
    chunks = [chunk.cuda() for chunk in texts(7).split([3, 3, 1])]
    tower, cached = model(dropout=0.5).cuda(), model(dropout=0.5).cuda()

    def on_device(outputs: dict[str, Tensor]) -> Tensor:
        return outputs["steps"].square().sum()

    torch.manual_seed(5)
    on_device(joined([tower(chunk) for chunk in chunks])).backward()
    torch.manual_seed(5)
    cached_backward(cached, chunks, on_device)
    for one, other in zip(gradients(cached), gradients(tower), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_loss_sees_numbers_joined_in_order() -> None:
    seen: dict[str, Tensor] = {}

    def look(outputs: dict[str, Tensor]) -> Tensor:
        seen.update(outputs)
        return loss(outputs)

    chunks = list(texts(5).split([2, 3]))
    cached_backward(model(), chunks, look)
    assert seen["number"].flatten().tolist() == [0, 1, 0, 1, 2]
    assert seen["steps"].shape == (2, 5, 4)
    assert torch.equal(seen["frozen"].detach(), torch.cat(chunks)[:, :4])
    assert seen["unused"].grad is None
