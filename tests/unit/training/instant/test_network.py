"""The network that is trained gives what its file gives."""

from pathlib import Path

import numpy as np
import torch

from instruct_embeddings.instant.head import MoveHead
from instruct_embeddings.training.instant.network import MoveNetwork


def network(longest: float = 1.0) -> MoveNetwork:
    torch.manual_seed(0)
    made = MoveNetwork(6, 4, hidden=5, longest=longest)
    with torch.no_grad():
        for value in made.parameters():
            value += torch.randn_like(value)
    return made


def test_the_head_in_numpy_moves_as_the_network_does(tmp_path: Path) -> None:
    made, read, vectors = network(0.7), torch.randn(8, 6), torch.randn(8, 4)
    (tmp_path / "head").write_bytes(made.to_head("tiny").to_bytes())
    found = MoveHead.read(tmp_path / "head").moves(read.numpy(), vectors.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found, made(read, vectors).numpy(), atol=1e-6)
    assert np.linalg.norm(found, axis=1).max() <= 0.7


def test_strength_shortens_every_move() -> None:
    made, read, vectors = network(), torch.randn(3, 6).numpy(), torch.randn(3, 4).numpy()
    whole, half = made.to_head("tiny"), made.to_head("tiny", 0.5)
    np.testing.assert_allclose(half.moves(read, vectors), whole.moves(read, vectors) / 2, rtol=1e-5)


def test_it_starts_with_half_a_trust_along_what_is_read() -> None:
    made = MoveNetwork(3, 3, hidden=2, longest=1.0)
    read = torch.tensor([[2.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5 * torch.tanh(torch.tensor(1.0)), 0.0, 0.0]])
    torch.testing.assert_close(made(read, torch.eye(3)[:1]), expected)


def test_what_all_queries_share_is_taken_out_at_the_start() -> None:
    made, read = MoveNetwork(3, 3, hidden=2, longest=1.0), torch.randn(50, 3) + 5
    made.centre(read)
    torch.testing.assert_close(made.direction(read).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
