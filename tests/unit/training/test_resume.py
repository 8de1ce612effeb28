"""An interrupted run that is resumed ends like one that was not: to the bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from instruct_embeddings.errors import CheckpointError, DataError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.log import TrainEvent
from instruct_embeddings.training.state import read_progress
from instruct_embeddings.training.trainer import train
from tests.training import tiny_config, write_things

ALL = {
    "run__steps": 9,
    "run__save_every": 4,
    "run__log_every": 3,
    "run__accumulate": 2,
    "run__chunk": 3,
    # A batch has some of the answers only, so that those a run knows already differ.
    "data__batch_size": 6,
    "data__extra_answers": 0,
    "backbone__dropout": 0.2,
    "loss__views": ["answer", "dropout"],
    "loss__distillation": {},
    "validation": {"sets": [], "instructions": 0.3, "rows": 20, "every": 5, "patience": 0},
}
GIRCSE = ALL | {
    "model__refinement": {"steps": 2},
    "model__soft_prompts": 0,
    "model__pooling": "last_token",
}
SCRIPT = """
import json, sys
from instruct_embeddings.training import TrainingConfig, train
config = TrainingConfig.from_dict(json.loads(sys.argv[1]))
train(config, on_event=lambda event: print(event.step, flush=True))
"""


class Interrupted(Exception):
    """Ends a run."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


def config(folder: Path, name: str, kind: str = "bert", **changes: Any) -> TrainingConfig:
    return tiny_config(folder, kind, run__output=str(folder / name), **changes)


def interrupt(at: int) -> Any:
    def raise_there(event: TrainEvent) -> None:
        if event.step >= at:
            raise Interrupted

    return raise_there


def log(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    # The one thing that no two runs have in common.
    return [
        {key: value for key, value in e.items() if key != "examples_per_second"} for e in events
    ]


def assert_same(one: Path, other: Path) -> None:
    """Weights, optimiser, checkpoint and log of two runs are equal."""
    for file in sorted(one.rglob("*.safetensors")):
        own, twin = load_file(file), load_file(other / file.relative_to(one))
        assert own.keys() == twin.keys()
        assert all(own[name].equal(twin[name]) for name in own), file.name
    assert log(one) == log(other)
    left = sorted(place.name for place in other.iterdir())
    assert left == ["checkpoint", "log.jsonl", "loss.png", "state"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", ALL),
        ("llama", ALL),
        ("llama", GIRCSE),
        ("bert", ALL | {"backbone__train": "full", "run__precision": "bfloat16"}),
    ],
)
def test_a_resumed_run_ends_like_one_that_was_not_interrupted(
    folder: Path, kind: str, changes: dict[str, Any]
) -> None:
    train(config(folder, "whole", kind, **changes))
    broken = config(folder, "broken", kind, **changes)
    # After the states of step 4 and of step 8, in the middle of what a line of the log averages.
    for step in (6, 9):
        with pytest.raises(Interrupted):
            train(broken, resume=step > 6, on_event=interrupt(step))
    progress = read_progress(folder / "broken")
    assert progress is not None
    assert progress.step == 8
    train(broken, resume=True)
    assert_same(folder / "whole", folder / "broken")


# Starts a process that imports torch and transformers: seconds, on a busy machine many.
@pytest.mark.timeout(180)
def test_a_killed_run_is_resumed(folder: Path) -> None:
    changes = ALL | {"run__steps": 60, "run__log_every": 1, "run__save_every": 2}
    changes |= {"validation": None, "run__chunk": 0}
    given = config(folder, "killed", **changes)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(given.to_dict())],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 7:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    progress = read_progress(folder / "killed")
    assert progress is not None
    assert 4 <= progress.step < 60
    train(given, resume=True)
    train(config(folder, "whole", **changes))
    assert_same(folder / "whole", folder / "killed")


def test_without_a_state_a_resumed_run_starts_anew(folder: Path) -> None:
    with pytest.raises(Interrupted):
        train(config(folder, "run", **ALL), on_event=interrupt(3))
    assert read_progress(folder / "run") is None
    assert train(config(folder, "run", **ALL), resume=True).steps == 9


def test_a_finished_run_is_resumed_without_a_step(folder: Path) -> None:
    given = config(folder, "run", run__steps=2)
    first = train(given)
    before = load_file(first.folder / "instruct_encoder.safetensors")
    events: list[TrainEvent] = []
    again = train(given, resume=True, on_event=events.append)
    after = load_file(again.folder / "instruct_encoder.safetensors")
    assert (again.steps, events) == (2, [])
    assert before["soft_prompts"].equal(after["soft_prompts"])


def test_another_configuration_is_refused(folder: Path) -> None:
    train(config(folder, "run", run__steps=2))
    with pytest.raises(CheckpointError, match="was started with another configuration"):
        train(config(folder, "run", run__steps=2, run__seed=1), resume=True)


def test_other_data_is_refused(folder: Path) -> None:
    given = config(folder, "run", run__steps=2)
    train(given)
    more = {"text": "a ring", "labels": {"shape": "ring", "colour": "green"}}
    with (folder / "things.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(more) + "\n")
    with pytest.raises(DataError, match="have changed since it started"):
        train(given, resume=True)


def test_a_damaged_state_is_refused(folder: Path) -> None:
    given = config(folder, "run", run__steps=2)
    train(given)
    (folder / "run" / "state" / "state.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        train(given, resume=True)


def test_a_best_checkpoint_that_was_being_replaced_comes_back(folder: Path) -> None:
    given = config(folder, "run", **ALL)
    train(given)
    before = load_file(folder / "run" / "checkpoint" / "instruct_encoder.safetensors")
    (folder / "run" / "checkpoint").rename(folder / "run" / ".checkpoint-x-old")
    (folder / "run" / ".checkpoint-x").mkdir()
    result = train(given, resume=True)
    after = load_file(result.folder / "instruct_encoder.safetensors")
    assert before.keys() == after.keys()
    assert all(value.equal(after[name]) for name, value in before.items())
