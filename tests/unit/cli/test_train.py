import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training import trainer
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.log import TrainEvent, TrainResult
from tests.models import tiny
from tests.unit.cli.conftest import Run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = [
        {"text": f"text {n}", "instruction": "which number", "answer": f"number {n % 3}"}
        for n in range(40)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "train.jsonl").write_text("\n".join([*lines, "no JSON"]), encoding="utf-8")
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
[model]
base_model = "{tiny().as_posix()}"
soft_prompts = 2
pooling = "dual_anchor"
max_tokens = 64
[data]
batch_size = 8
[[data.sources]]
path = "train.jsonl"
[run]
steps = 10
""",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainingConfig, bool]]:
    calls: list[tuple[TrainingConfig, bool]] = []

    def train(
        config: TrainingConfig, *, resume: bool, on_event: Callable[[TrainEvent], None]
    ) -> TrainResult:
        calls.append((config, resume))
        on_event(TrainEvent(5, 10, 1.5, {"contrastive": 1.5}, 30.0))
        on_event(TrainEvent(10, 10, 1.25, {"contrastive": 1.25}, 30.0, {"score": 0.75}))
        return TrainResult(Path("runs/x/checkpoint"), 10, 0.75, False, 2.5)

    monkeypatch.setattr(trainer, "train", train)
    return calls


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    run: Run, config: Path, tmp_path: Path
) -> None:
    ran = run("train", config, "--dry-run", "--output", tmp_path / "out")
    assert ran.code == 0
    assert "10 steps draw 80 examples" in ran.stdout
    assert "40 rows read, 1 bad lines skipped" in ran.stdout
    assert "train.jsonl:41" in ran.stdout
    assert "Adam's two means" in ran.stdout
    assert not (tmp_path / "out").exists()


def test_a_dry_run_as_json(run: Run, config: Path) -> None:
    document = run("train", config, "--dry-run", "--json", "--set", "data.batch_size=4").json
    assert document["examples"] == 40
    assert document["data"]["sources"][0]["rows"] == 40
    assert document["memory_bytes"] > 0
    assert document["hours"] is None


def test_a_dry_run_measures_where_asked_to(run: Run, config: Path, tmp_path: Path) -> None:
    asked = ("train", config, "--dry-run", "--measure", "--output", tmp_path / "out")
    ran = run(*asked, "--set", 'validation.sets=["held"]', *held_out(config))
    assert ran.code == 0
    assert re.search(
        r"10 steps draw 80 examples: 0\.\d\d hours at [\d.]+ examples a second, measured on 3 "
        "steps; measuring what is held out comes on top",
        ran.stdout,
    )
    assert "Measuring 3 steps" in ran.stderr
    document = run(*asked, "--measure-steps", 1, "--json").json
    assert document["measured_steps"] == 1
    assert document["hours"] == pytest.approx(80 / document["examples_per_second"] / 3600)
    assert not (tmp_path / "out").exists()


def held_out(config: Path) -> tuple[str, str]:
    """The training file once more, as a set that is held out."""
    file = (config.parent / "train.jsonl").as_posix()
    return "--set", f'data.sources=[{{path="{file}"}}, {{path="{file}", name="held"}}]'


def test_measuring_belongs_to_a_dry_run(run: Run, config: Path) -> None:
    ran = run("train", config, "--measure")
    assert ran.code == 2
    assert "--dry-run" in ran.stderr


def test_recipes_are_listed(run: Run) -> None:
    shown = run("train", "--list").stdout
    assert "qwen3-0.6b-instemb" in shown
    assert "InstEmb on Qwen3-0.6B" in shown
    assert "minilm-gircse" in run("train", "--list", "--json").json["recipes"]


def test_a_recipe_is_found_by_its_name(run: Run, config: Path) -> None:
    ran = run("train", "minilm-instemb", "--data", config.parent, "--dry-run", "--json")
    assert ran.code == 0
    assert ran.json["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_recipe_without_data_looks_in_the_current_folder(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    assert run("train", "minilm-instemb", "--dry-run", "--json").json["data"]["reading"]["read"]


def test_an_unknown_name_lists_the_recipes(run: Run) -> None:
    ran = run("train", "minilm")
    assert (ran.code, ran.stdout) == (1, "")
    assert "neither a file nor a recipe" in ran.stderr
    assert "minilm-instemb" in ran.stderr


def test_a_config_or_a_recipe_is_wanted(run: Run) -> None:
    assert run("train").code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("loss.temperatur=1", "Did you mean 'temperature'?"),
        ("loss.temperature=cold", "[loss] temperature='cold'"),
        ("temperature", "is no key=value"),
        ("=1", "is no key=value"),
    ],
)
def test_bad_changes_are_named(run: Run, config: Path, change: str, words: str) -> None:
    ran = run("train", config, "--dry-run", "--set", change)
    assert ran.code == 1
    assert words in ran.stderr


def test_debug_lets_errors_through(run: Run, config: Path) -> None:
    with pytest.raises(ConfigError):
        run("train", config, "--set", "run.steps=0", "--debug")


def test_strict_reading_stops_at_the_bad_line(run: Run, config: Path) -> None:
    ran = run("train", config, "--dry-run", "--strict")
    assert ran.code == 1
    assert "train.jsonl:41" in ran.stderr


def test_options_reach_the_trainer(
    run: Run, config: Path, tmp_path: Path, trained: list[tuple[TrainingConfig, bool]]
) -> None:
    options: list[Any] = ["--steps", 10, "--device", "cpu", "--output", tmp_path / "out"]
    changes = ["--set", "loss.temperature=0.1", "--set", "loss.gist={}"]
    assert run("train", config, *options, *changes, "--resume").code == 0
    given, resume = trained[0]
    assert resume
    assert (given.run.device, given.run.output) == ("cpu", tmp_path / "out")
    assert given.loss.temperature == 0.1
    assert given.loss.gist is not None


def test_training_reports_its_steps_and_its_end(
    run: Run, config: Path, trained: list[tuple[TrainingConfig, bool]]
) -> None:
    ran = run("train", config)
    assert "10 steps in 2 s, best held-out measure 0.7500" in ran.stdout
    assert "step 10 of 10: loss 1.2500" in ran.stderr
    assert "held out: score 0.7500" in ran.stderr
    assert not trained[0][1]
    assert run("train", config, "--json").json == {
        "folder": "runs/x/checkpoint",
        "steps": 10,
        "best": 0.75,
        "stopped_early": False,
        "seconds": 2.5,
    }


@pytest.mark.parametrize("asked", [(), ("--dry-run", "--measure")])
def test_without_the_extra_its_name_is_given(
    run: Run, config: Path, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    ran = run("train", config, *asked)
    assert ran.code == 1
    assert 'accelerate is not installed. Install it with: pip install "instruct-' in ran.stderr
    assert '"instruct-embeddings[train]"' in ran.stderr


def test_a_missing_dependency_of_the_package_names_no_extra(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    ran = run("train", config)
    assert ran.code == 1
    assert 'peft is not installed. Install it with: pip install "instruct-embeddings"' in ran.stderr
