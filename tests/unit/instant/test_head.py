"""The head: a bounded move, whose length is learned."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from instruct_embeddings.errors import CheckpointError
from instruct_embeddings.instant.head import FORMAT_VERSION, MoveHead


def head(trust: float = 0.0, longest: float = 1.0) -> MoveHead:
    """Moves along what is read; the trust is the same for all queries."""
    return MoveHead(
        weights=np.eye(2, 3, dtype=np.float32),
        bias=np.zeros(2, dtype=np.float32),
        trust_weights=np.zeros((4, 5), dtype=np.float32),
        trust_bias=np.zeros(4, dtype=np.float32),
        trust_out=np.array([0, 0, 0, 0, trust], dtype=np.float32),
        longest=longest,
        space="tiny",
    )


READ = np.array([[3.0, 4.0, 9.0], [0.0, 0.5, 9.0]], dtype=np.float32)
VECTORS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)


def test_a_move_goes_where_what_was_read_points() -> None:
    moves = head().moves(READ, VECTORS)
    # Half is trusted; tanh(5) is 1 up to 1e-4, tanh(0.5) is 0.4621.
    np.testing.assert_allclose(moves, [[0.3, 0.4], [0.0, 0.5 * 0.46212]], atol=1e-4)


def test_without_trust_nothing_moves() -> None:
    assert np.abs(head(trust=-30.0).moves(READ, VECTORS)).max() < 1e-9


def test_no_move_is_longer_than_the_longest() -> None:
    lengths = np.linalg.norm(head(trust=30.0, longest=0.7).moves(1e4 * READ, VECTORS), axis=1)
    assert (lengths <= 0.7 + 1e-6).all()


def test_nothing_read_moves_nowhere() -> None:
    assert not head().moves(np.zeros((1, 3), dtype=np.float32), VECTORS[:1]).any()


def test_a_file_gives_the_same_head(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    file.write_bytes(head(trust=1.5, longest=0.5).to_bytes())
    read = MoveHead.read(file)
    assert (read.longest, read.space, read.dimension) == (0.5, "tiny", 2)
    np.testing.assert_array_equal(
        read.moves(READ, VECTORS), head(trust=1.5, longest=0.5).moves(READ, VECTORS)
    )


def test_a_missing_file_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"head\.safetensors is no readable head"):
        MoveHead.read(tmp_path / "head.safetensors")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    about = {"format_version": FORMAT_VERSION + 1, "longest": 1.0, "space": "tiny"}
    metadata = {"instruct_embeddings_instant": json.dumps(about)}
    file.write_bytes(save(load(head().to_bytes()), metadata=metadata))
    with pytest.raises(CheckpointError, match="format_version 2; this version"):
        MoveHead.read(file)


@pytest.mark.parametrize(
    "change",
    [
        {"bias": np.zeros(3, dtype=np.float32)},
        {"bias": np.array([0, np.nan], dtype=np.float32)},
        {"trust_out": np.zeros(4, dtype=np.float32)},
        {"weights": np.eye(2, 3, dtype=np.float64)},
    ],
)
def test_shapes_and_numbers_that_mislead_are_refused(
    change: "dict[str, np.ndarray]", tmp_path: Path
) -> None:
    file = tmp_path / "head.safetensors"
    about = {"format_version": FORMAT_VERSION, "longest": 1.0, "space": "tiny"}
    metadata = {"instruct_embeddings_instant": json.dumps(about)}
    file.write_bytes(save(load(head().to_bytes()) | change, metadata=metadata))
    with pytest.raises(CheckpointError, match="no readable head"):
        MoveHead.read(file)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    file.write_bytes(head().to_bytes()[:40])
    with pytest.raises(CheckpointError, match="Pass the folder of a whole checkpoint"):
        MoveHead.read(file)
