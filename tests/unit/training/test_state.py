import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from instruct_embeddings.errors import CheckpointError
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.state import (
    STATE,
    Progress,
    load_state,
    read_progress,
    recover,
    save_state,
)

PROGRESS = Progress(
    "a" * 64, "b" * 64, 3, 0.1 + 0.2, 2, 1, 1.5, 48, 2, Window(2, 32, 0.1, {"a": 1})
)


def made(seed: int) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    """Two parameters, one name the end of the other, after three steps of the optimiser."""
    torch.manual_seed(seed)
    parameters = {
        "pooler.weight": nn.Parameter(torch.randn(2, 3)),
        "backbone.pooler.weight": nn.Parameter(torch.randn(3, 2, dtype=torch.bfloat16).T),
        "never.used": nn.Parameter(torch.randn(2)),
    }
    optimiser = torch.optim.AdamW([{"params": [p]} for p in parameters.values()])
    for _ in range(3):
        for name, value in parameters.items():
            value.grad = None if name == "never.used" else torch.randn_like(value)
        optimiser.step()
    return parameters, optimiser


def test_parameters_and_optimiser_come_back_to_the_bit(tmp_path: Path) -> None:
    saved, optimiser = made(0)
    save_state(tmp_path, PROGRESS, saved, optimiser)
    other, other_optimiser = made(1)
    other_optimiser.state.clear()
    load_state(tmp_path, other, other_optimiser)
    for (name, value), twin in zip(saved.items(), other.values(), strict=True):
        assert torch.equal(value, twin), name
        own, loaded = optimiser.state[value], other_optimiser.state[twin]
        assert own.keys() == loaded.keys()
        assert all(torch.equal(own[key], loaded[key]) for key in own)
        assert {key: part.dtype for key, part in own.items()} == {
            key: part.dtype for key, part in loaded.items()
        }
    assert not other_optimiser.state[other["never.used"]]


def test_the_progress_comes_back(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    save_state(tmp_path, PROGRESS, *made(0))
    assert read_progress(tmp_path) == PROGRESS


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    files = sorted(file.name for file in (tmp_path / STATE).iterdir())
    assert files == ["progress.json", "state.safetensors"]
    assert load_file(tmp_path / STATE / "state.safetensors")["parameter.never.used"].shape == (2,)


@pytest.mark.parametrize("fails_at", ["write_text", "replace"])
def test_a_failure_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    before = load_file(tmp_path / STATE / "state.safetensors")
    renamed = 0

    def fail(*arguments: object, **more: object) -> None:
        raise OSError("disk full")

    def fail_second(source: Path, target: Path) -> None:
        nonlocal renamed
        renamed += 1
        if renamed == 2:
            raise OSError("disk full")
        os.rename(source, target)

    if fails_at == "replace":
        monkeypatch.setattr(Path, "rename", fail_second)
    else:
        monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        save_state(tmp_path, replace(PROGRESS, step=9), *made(1))
    assert [place.name for place in tmp_path.iterdir()] == [STATE]
    assert read_progress(tmp_path) == PROGRESS
    after = load_file(tmp_path / STATE / "state.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_an_interruption_between_two_renames_is_mended(tmp_path: Path) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    (tmp_path / STATE).rename(tmp_path / f".{STATE}-x1-old")
    (tmp_path / f".{STATE}-x1").mkdir()
    recover(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == [STATE]
    assert read_progress(tmp_path) == PROGRESS


def test_what_an_interruption_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (STATE, f".{STATE}-x1", f".{STATE}-x1-old", ".checkpoint-y", "own", ".own"):
        (tmp_path / name).mkdir()
    recover(tmp_path)
    assert sorted(place.name for place in tmp_path.iterdir()) == [".own", "own", STATE]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"digest": "a", "window": {}, "step": "3"}', '{"digest": "a", "new": 1}'],
)
def test_damaged_progress_is_refused(tmp_path: Path, text: str) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    (tmp_path / STATE / "progress.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"progress\.json' is damaged"):
        read_progress(tmp_path)


def test_damaged_tensors_are_refused(tmp_path: Path) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    file = tmp_path / STATE / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_state(tmp_path, *made(1))
    file.unlink()
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_state(tmp_path, *made(1))


def test_other_parameters_are_refused_and_named(tmp_path: Path) -> None:
    parameters, optimiser = made(0)
    save_state(tmp_path, PROGRESS, parameters, optimiser)
    fewer = {name: value for name, value in parameters.items() if name != "never.used"}
    with pytest.raises(CheckpointError, match=r"other parameters.*never\.used"):
        load_state(tmp_path, fewer, optimiser)
    wider = parameters | {"never.used": nn.Parameter(torch.zeros(3))}
    with pytest.raises(CheckpointError, match=r"other parameters.*never\.used"):
        load_state(tmp_path, wider, optimiser)


def test_progress_is_plain_json(tmp_path: Path) -> None:
    save_state(tmp_path, PROGRESS, *made(0))
    found = json.loads((tmp_path / STATE / "progress.json").read_text(encoding="utf-8"))
    assert (found["step"], found["window"]["parts"]) == (3, {"a": 1})


@pytest.mark.parametrize("text", ["[" * 100_000, " " * 2**21])
def test_progress_that_would_fill_the_memory_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE).mkdir()
    (tmp_path / STATE / "progress.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"damaged .*(nested too deeply|are read)"):
        read_progress(tmp_path)
