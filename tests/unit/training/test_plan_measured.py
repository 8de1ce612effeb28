import json
from pathlib import Path

import pytest

from instruct_embeddings.errors import ConfigError, ModelNotFoundError
from instruct_embeddings.training import plan as planning
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.opening import open_data
from instruct_embeddings.training.plan import Plan, measure_steps, plan_training
from tests.models import tiny
from tests.training import tiny_config, write_things


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


class Clock:
    """Each batch takes half a second, the very first one a minute."""

    def __init__(self) -> None:
        self.now, self.drawn = 100.0, list[int]()

    def perf_counter(self) -> float:
        return self.now

    def watch(self, config: TrainingConfig, steps: int) -> Plan:
        plan = plan_training(config)
        with open_data(config.data, None, seed=0) as data:
            batch = data.source.batch

            def count(step: int, rank: int = 0) -> object:
                self.now += 0.5 if self.drawn else 60.0
                self.drawn.append(step)
                return batch(step, rank)

            object.__setattr__(data.source, "batch", count)
            return measure_steps(config, data, plan, steps)


def figures(plan: Plan) -> tuple[int, float | None, float | None]:
    return plan.measured_steps, plan.examples_per_second, plan.hours


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(planning, "time", made)
    return made


def test_examples_a_second_and_hours_are_those_of_the_timed_steps(
    folder: Path, clock: Clock
) -> None:
    # Three steps of 16 examples in 1.5 seconds; 7200 steps of half a second.
    assert figures(clock.watch(tiny_config(folder, run__steps=7200), 3)) == (3, 32.0, 1.0)
    assert clock.drawn == [0, 1, 2, 3]


def test_accumulated_batches_are_one_step(folder: Path, clock: Clock) -> None:
    config = tiny_config(folder, run__steps=3600, run__accumulate=2)
    assert figures(clock.watch(config, 1)) == (1, 32.0, 1.0)
    assert clock.drawn == [0, 1, 2, 3]


def test_a_run_of_fewer_steps_repeats_them(folder: Path, clock: Clock) -> None:
    assert clock.watch(tiny_config(folder, run__steps=2), 2).measured_steps == 2
    assert clock.drawn == [0, 1, 0]


def test_a_plan_has_the_figures_and_writes_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    plan = plan_training(tiny_config(folder, run__steps=3600), measure=1)
    assert sorted(folder.rglob("*")) == before
    assert plan.measured_steps == 1
    assert plan.examples_per_second is not None
    assert plan.hours == pytest.approx(16 / plan.examples_per_second)
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["examples_per_second"] == plan.examples_per_second
    assert document["hours"] == plan.hours


def test_a_plan_that_is_not_asked_to_takes_no_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "measure_steps", None)
    plan = plan_training(tiny_config(folder))
    assert (plan.measured_steps, plan.examples_per_second, plan.hours) == (0, None, None)
    with pytest.raises(ConfigError, match=r"measure must be an integer .*got -1"):
        plan_training(tiny_config(folder), measure=-1)


def test_without_weights_nothing_can_be_measured(folder: Path, tmp_path: Path) -> None:
    values = json.loads((tiny() / "config.json").read_text(encoding="utf-8"))
    backbone = {"architecture": values, "cache_folder": str(tmp_path), "local_files_only": True}
    config = tiny_config(folder, model__base_model="not/there", backbone=backbone)
    assert plan_training(config).examples == 64
    with pytest.raises(ModelNotFoundError, match="not/there"):
        plan_training(config, measure=1)
