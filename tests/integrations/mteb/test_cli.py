import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from instruct_embeddings.cli.evaluate import evaluate_tasks
from tests.integrations.mteb.conftest import INSTRUCTIONS
from tests.models import tiny_checkpoint

Run = Callable[..., Any]
# Reading all tasks and benchmarks of mteb for the first time takes long on a busy machine.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def run() -> Run:
    """`eval` with tiny models in place of real weights."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("eval")(evaluate_tasks)
    tiny = str(tiny_checkpoint())

    def call(*arguments: object) -> Any:
        models = ["--model", tiny, "--generic-model", tiny]
        result = CliRunner().invoke(app, [*models, *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def instructions(tmp_path: Path) -> Path:
    file = tmp_path / "instructions.json"
    file.write_text(json.dumps(INSTRUCTIONS), encoding="utf-8")
    return file


def test_methods_stand_side_by_side(
    run: Run, toys: Path, instructions: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "scores.json"
    methods = [part for name in ("generic", "encoder", "transform") for part in ("--method", name)]
    call = ["--tasks", toys, "--instructions", instructions, *methods, "--output", output]
    ran = run(*call)
    assert ran.exit_code == 0
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[0] == ["task", "type", "measure", "generic", "encoder", "transform"]
    assert [line[0] for line in lines[2:5]] == ["toys.colour", "toys.shape", "toys.colour+shape"]
    assert lines[2][5] == lines[3][5] == "-"
    assert lines[4][3] == "0.0000"  # who reads no instruction obeys none
    assert f"All scores are in {output}" in ran.stdout
    assert "toys.shape, transform: it ranks documents" in ran.stderr

    kept = json.loads(output.read_text(encoding="utf-8"))
    assert kept["instructions"] == INSTRUCTIONS
    assert set(kept["methods"]) == {"generic", "encoder", "transform"}
    assert len(kept["scores"]) == 9
    assert kept["scores"][-1]["scores"]["test"][0]["p-MRR"] == kept["scores"][-1]["score"]
    assert [file.name for file in output.parent.iterdir()] == ["scores.json"]


def test_json_is_all_that_stands_on_stdout(run: Run, beir: Path) -> None:
    ran = run("-t", beir, "--json")
    assert ran.exit_code == 0
    [score] = json.loads(ran.stdout)["scores"]
    assert (score["task"], score["method"], score["problem"]) == ("balls", "encoder", None)
    assert "balls, encoder: there is no instruction for it" in ran.stderr


def test_what_could_be_run_is_kept_when_the_hub_is_out_of_reach(
    run: Run, beir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.json"
    ran = run("-t", "Core17InstructionRetrieval", "-t", beir, "--output", output)
    assert ran.exit_code == 1
    assert "its data cannot be reached" in ran.stderr
    assert "Error: No score for Core17InstructionRetrieval" in ran.stderr
    assert "local JSONL files need no network" in ran.stderr
    scores = json.loads(output.read_text(encoding="utf-8"))["scores"]
    assert [one["score"] is None for one in scores] == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ('["a"]', "holds no instructions by task"), ('{"a": 1}', "holds no")],
)
def test_a_file_of_instructions_that_cannot_be_read_stops_it_at_once(
    run: Run, beir: Path, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content, encoding="utf-8")
    ran = run("-t", beir, "--instructions", file)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert message in ran.stderr


def test_an_unknown_task_stops_it_at_once(run: Run) -> None:
    ran = run("-t", "FollowIRR")
    assert ran.exit_code == 1
    assert "Did you mean: FollowIR?" in ran.stderr
