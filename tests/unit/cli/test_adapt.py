import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from instruct_embeddings.cli.transforms import read_labels
from instruct_embeddings.errors import DataError, TransformWarning
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
QUESTION = "Which animal is it?"


def test_a_stored_transform_is_reused(run: Run, farm: Path, at: At) -> None:
    ran = run("adapt", QUESTION, *at(farm), "--metadata-key", "animal", "--json")
    assert ran.code == 0
    assert (ran.json["reused"], ran.json["guide"]) == (True, "metadata:animal")
    assert ran.json["report"]["label_counts"] == {"cat": 24, "dog": 24, "horse": 24}
    assert ran.json["store"] == f"chroma:{farm}"
    assert Path(ran.json["folder"]) == farm / "instruct-transforms"
    assert [f.stem for f in Path(ran.json["folder"]).iterdir()] == [ran.json["key"]]


def test_the_report_is_printed_for_a_reader(run: Run, farm: Path, at: At) -> None:
    ran = run("adapt", QUESTION, *at(farm), "--metadata-key", "animal")
    assert "learned from 72 of 72 sampled rows" in ran.stdout
    assert "was stored already (--refit fits it again)" in ran.stdout


def test_labels_of_a_file_are_learned_and_refit_replaces(
    run: Run, farm: Path, at: At, zoo: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in zoo.read_text(encoding="utf-8").splitlines()]
    labels = tmp_path / "labels.jsonl"
    lines = [json.dumps({"id": row["id"], "label": row["mood"]}) for row in rows[:60]]
    labels.write_text("\n".join(lines), encoding="utf-8")
    call = ["adapt", "How does it feel?", *at(farm), "--labels", labels]
    call += ["--transforms", tmp_path / "s"]
    call += ["--seed", "3", "--sample-size", "40", "--json"]
    first = run(*call)
    assert (first.code, first.json["reused"], first.json["report"]["judged"]) == (0, False, 40)
    again = run(*call, "--refit")
    assert (again.json["reused"], again.json["key"]) == (False, first.json["key"])


def test_an_unknown_key_names_those_that_exist(run: Run, farm: Path, at: At) -> None:
    ran = run("adapt", "What colour?", *at(farm), "--metadata-key", "colour")
    assert (ran.code, ran.stdout) == (1, "")
    assert "'animal'" in ran.stderr
    assert "'mood'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_debug_lets_the_error_through(run: Run, farm: Path, at: At) -> None:
    with pytest.raises(ValueError, match="colour"):
        run("adapt", "What colour?", *at(farm), "--metadata-key", "colour", "--debug")


@pytest.mark.parametrize("instruction", ["", "x" * 10_000], ids=["empty", "long"])
def test_a_bad_instruction_is_one_message(run: Run, farm: Path, at: At, instruction: str) -> None:
    ran = run("adapt", instruction, *at(farm), "--metadata-key", "animal")
    assert (ran.code, ran.stdout) == (1, "")
    assert "instruction" in ran.stderr


@pytest.mark.parametrize(
    "extra",
    [
        ["--metadata-key", "a", "--labels", __file__],
        ["--metadata-key", "a", "--label-names", "a,b"],
        ["--metadata-key", "a", "--encoder", "b"],
    ],
)
def test_one_source_of_labels_is_wanted(run: Run, farm: Path, at: At, extra: list[str]) -> None:
    assert run("adapt", QUESTION, *at(farm), *extra).code == 2


@pytest.mark.parametrize(
    ("extra", "guide"),
    [([], "encoder:"), (["--label-names", "cat, dog,horse"], "names:")],
)
def test_without_labels_the_encoder_teaches(
    run: Run, farm: Path, at: At, tmp_path: Path, extra: list[str], guide: str
) -> None:
    call = ["adapt", QUESTION, *at(farm), *extra, "--transforms", tmp_path, "--json"]
    # Whether random weights help is not the question here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)
        ran = run(*call)
    assert ran.code == 0, ran.stderr
    assert ran.json["guide"].startswith(guide)
    assert ran.json["report"]["judged"] == 72
    assert len(list(tmp_path.iterdir())) == 1
    keys = [found["key"] for found in ran.json["report"]["guide_check"]["keys"]]
    assert "animal" in keys
    assert [len(pair) for pair in ran.json["alike"]] == [2, 2, 2]
    assert all(row["text"] for pair in ran.json["alike"] for row in pair)
    shown = " ".join(run(*call[:-1]).stdout.split())
    assert "was stored already" in shown
    assert "Are these alike" in shown
    assert ran.json["alike"][0][0]["text"] in shown


def test_a_request_without_labels_gets_the_better_form(
    run: Run, farm: Path, at: At, tmp_path: Path
) -> None:
    call = ["adapt", "Answer briefly", *at(farm), "--transforms", tmp_path]
    said = " ".join(run(*call).stderr.split())
    assert '"Which disease is it about?"' in said
    assert "query --fitted" in said
    by_labels = run(*call, "--metadata-key", "animal")
    assert "Which disease" not in by_labels.stderr


def test_progress_is_shown_beside_the_result(run: Run, farm: Path, at: At, tmp_path: Path) -> None:
    store = ["--transforms", tmp_path]
    ran = run("adapt", "Which mood?", *at(farm), "--metadata-key", "mood", *store)
    assert "Rows judged" in ran.stderr
    assert "72/72" in ran.stderr
    assert "Penalties tried" in ran.stderr
    assert "Rows judged" not in ran.stdout


def test_labels_are_read_from_csv_and_jsonl(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.csv", tmp_path / "a.jsonl"
    table.write_text("id,label\n1,red\n2,blue\n", encoding="utf-8")
    lines.write_text('{"id": 1, "label": ["red", "big"]}', encoding="utf-8")
    assert read_labels(table) == {"1": "red", "2": "blue"}
    assert read_labels(lines) == {"1": ["red", "big"]}


@pytest.mark.parametrize("line", ['{"id": 1}', '{"label": "x"}', "{", '{"id": 0, "label": "y"}'])
def test_a_bad_label_is_named_by_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"id": 0, "label": "x"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        read_labels(file)
