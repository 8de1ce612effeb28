import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training import optimiser
from instruct_embeddings.training.data.batches import Batch, BatchSource
from instruct_embeddings.training.optimiser import Processes
from instruct_embeddings.training.trainer import train
from tests.models import build_model, new_folder
from tests.training import tiny_config, write_things

SCRIPT = """
import json, sys
import torch
from instruct_embeddings.training import TrainingConfig, train, trainer
config = TrainingConfig.from_dict(json.loads(sys.argv[1]))
made, events = [], []
parts = trainer.BatchStep
trainer.BatchStep = lambda *given: made.append(parts(*given)) or made[0]
result = train(config, on_event=lambda event: events.append(event.step))
weights = {name: value.double().sum().item() for name, value in made[0].named.items()}
print(json.dumps([result.steps, result.best, events, weights]))
"""


def test_one_process_is_the_main_one_and_averages_nothing() -> None:
    alone = Processes("cpu")
    assert (alone.count, alone.index, alone.main, alone.device) == (1, 0, True, "cpu")
    value = nn.Parameter(torch.ones(2))
    value.grad = torch.tensor([1.0, 2.0])
    alone.average([value])
    assert value.grad.tolist() == [1.0, 2.0]
    assert alone.broadcast({"a": 1}) == {"a": 1}
    alone.wait()


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no torch device"):
        Processes("abacus")


def test_gradients_of_all_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        def wait(self) -> None: ...

    def add_the_other(gradient: Tensor, *, async_op: bool) -> Done:
        gradient += 10
        return Done()

    monkeypatch.setattr(optimiser.distributed, "all_reduce", add_the_other)
    one = Processes("cpu")
    one.count = 2
    values = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    values[0].grad = torch.tensor([4.0])
    one.average(values)
    assert values[0].grad.tolist() == [7.0]
    assert values[1].grad is None


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def launch(config: dict[str, Any], count: int) -> list[Any]:
    """What each process printed."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    found = []
    for process in started:
        out, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        found.append(json.loads(out.splitlines()[-1]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_two_processes_train_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_things(tmp_path)
    wide = build_model(new_folder("wide"), "bert", hidden_size=48)
    changes = {
        "run__chunk": 5,
        "run__steps": 6,
        "run__save_every": 2,
        # Has layers of its own, which learn too.
        "loss__distillation": {"teacher": str(wide)},
        "validation": {"sets": [], "instructions": 0.3, "rows": 20, "every": 3, "patience": 0},
    }
    two = tiny_config(folder, run__output=str(folder / "two"), **changes)
    first, second = launch(two.to_dict(), 2)
    assert first[0] == second[0] == 6
    assert first[1] == second[1]
    assert (first[2], second[2]) == ([1, 2, 3, 4, 5, 6], [])
    assert first[3] == second[3]
    left = sorted(place.name for place in (folder / "two").iterdir())
    assert left == ["checkpoint", "log.jsonl", "loss.png", "state"]
    # One process with both batches in each step does the same.
    drawn = BatchSource.batch

    def in_turn(self: BatchSource, step: int, rank: int = 0) -> Batch:
        return drawn(self, step // 2, step % 2)

    monkeypatch.setattr(BatchSource, "batch", in_turn)
    alone = tiny_config(folder, run__output=str(folder / "one"), **changes, run__accumulate=2)
    train(alone)
    states = [load_file(folder / name / "state" / "state.safetensors") for name in ("one", "two")]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-4, rtol=1e-3, msg=name)
