import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.data.files import Example, ReadingReport
from instruct_embeddings.training.data.opening import TrainingData, open_data
from instruct_embeddings.training.settings import DataConfig, ValidationConfig
from tests.unit.training.data.conftest import data_config, questions, toys, write_rows


def texts_of(data: TrainingData, steps: int = 40) -> set[str]:
    drawn = [data.source.batch(step) for step in range(steps)]
    return {example.text for batch in drawn for example in batch.examples}


def refused(config: DataConfig, message: str, error: type = DataError, **held_out: Any) -> None:
    with (
        pytest.raises(error, match=message),
        open_data(config, ValidationConfig(**held_out) if held_out else None, seed=0),
    ):
        pass


def test_groups_are_aspects_and_instructions_that_many_rows_share(tmp_path: Path) -> None:
    books = questions(60) + questions(31, instruction="When?") + questions(9, instruction="Why?")
    files = write_rows(tmp_path / "toys.jsonl", toys(40)), write_rows(tmp_path / "b.jsonl", books)
    with open_data(data_config(*files), None, seed=0) as data:
        found = {g.name: (g.source, g.rows, g.answers, g.instruction) for g in data.groups}
        assert data.report == ReadingReport(read=140, skipped=0)
        assert data.validation == ()
        assert sum(group.probability for group in data.groups) == pytest.approx(1)
    digest = next(name for name in found if name.startswith("b/") and name != "b/mixed")
    assert found == {
        "toys/colour": ("toys", 40, 2, ""),
        "toys/shape": ("toys", 40, 2, ""),
        "b/mixed": ("b", 40, 31, ""),
        digest: ("b", 60, 60, "Who wrote it?"),
    }


def test_bad_lines_are_reported_or_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", toys())
    path.write_text(path.read_text() + "oops\n" + json.dumps(toys(1)[0]) + "\n[]\n")
    with open_data(data_config(path), None, seed=0) as data:
        report = data.report
    assert (report.read, report.skipped) == (41, 2)
    assert report.problems[0].startswith(f"{path}:41: not JSON")
    assert report.problems[1].startswith(f"{path}:43: a JSON object is expected")
    refused(data_config(path, strict=True), r"toys\.jsonl:41: not JSON.*Correct the line")


def test_the_first_ten_bad_lines_are_told(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", [*toys(), *[{}] * 12])
    with open_data(data_config(path), None, seed=0) as data:
        assert (data.report.skipped, len(data.report.problems)) == (12, 10)


def test_an_aspect_that_nobody_asks_for_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", toys())
    config = data_config(path, table="[toys.colour]\ninstructions = ['C?']")
    refused(config, r"'toys'.*'shape'.*instructions\.toml", ConfigError)


def test_an_aspect_can_be_left_out(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", toys())
    table = "[toys.colour]\ninstructions = ['C?']\n[toys.shape]\nskip = true"
    with open_data(data_config(path, table=table), None, seed=0) as data:
        assert [group.name for group in data.groups] == ["toys/colour"]


def test_labels_of_one_answer_are_one_answer(tmp_path: Path) -> None:
    rows = [
        {"text": f"t{i}", "labels": {"colour": ("dark_red", "Dark-Red", "x")[i % 3]}}
        for i in range(9)
    ]
    with open_data(data_config(write_rows(tmp_path / "toys.jsonl", rows)), None, seed=0) as data:
        assert data.groups[0].answers == 2


def test_a_file_without_examples_is_refused(tmp_path: Path) -> None:
    row = {"text": "x", "labels": {"colour": "red|blue"}, "multi": ["colour"]}
    config = data_config(write_rows(tmp_path / "toys.jsonl", [row]))
    refused(config, r"toys\.jsonl holds nothing to learn: 0 bad lines")


def test_an_aspect_with_one_answer_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"toy {i}", "labels": {"colour": "red"}} for i in range(5)]
    config = data_config(write_rows(tmp_path / "toys.jsonl", rows))
    refused(config, r"All 5 rows of 'toys/colour'.*one answer")


def test_a_held_out_set_is_measured_and_never_drawn(tmp_path: Path) -> None:
    files = (
        write_rows(tmp_path / "toys.jsonl", toys(40)),
        write_rows(tmp_path / "books.jsonl", questions(50)),
    )
    validation = ValidationConfig(sets=("toys",), instructions=0.0, rows=12)
    with open_data(data_config(*files), validation, seed=0) as data:
        assert {text[:4] for text in texts_of(data)} == {"book"}
        assert [group.source for group in data.groups] == ["books"]
        tasks = {task.name: task for task in data.validation}
    assert set(tasks) == {"toys/colour", "toys/shape"}
    colour = tasks["toys/colour"]
    assert sorted(e.answer for e in colour.examples) == ["blue"] * 6 + ["red"] * 6
    assert {(e.instruction, e.group) for e in colour.examples} == {
        ("What colour is it?", "toys/colour")
    }


def test_a_wording_is_held_out_with_some_texts(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", toys(60))
    validation = ValidationConfig(instructions=0.34)  # one of the three wordings
    with open_data(data_config(path), validation, seed=0) as data:
        (task,) = data.validation
        drawn = [e for step in range(60) for e in data.source.batch(step).examples]
    assert (task.name, len(task.examples)) == ("toys/colour", 20)
    (held,) = {example.instruction for example in task.examples}
    assert held not in {example.instruction for example in drawn}
    assert {e.instruction for e in drawn} | {held} == {
        "What colour is it?",
        "Which colour has it?",
        "What shape is it?",
    }
    measured = {example.text for example in task.examples}
    assert {example.text for example in drawn} == {f"toy {i}" for i in range(60)} - measured


def test_a_share_of_the_instructions_of_rows_is_held_out(tmp_path: Path) -> None:
    rows: list[Any] = []
    for number in range(8):
        rows += questions(35, instruction=f"Question {number}?", start=100 * number)
    for number in range(12):
        rows += questions(2, instruction=f"Rare {number}?", start=5000 + 100 * number)
    path = write_rows(tmp_path / "books.jsonl", rows)
    validation = ValidationConfig(instructions=0.25, rows=400)
    with open_data(data_config(path), validation, seed=0) as data:
        (task,) = data.validation
        trained = {e.instruction for step in range(200) for e in data.source.batch(step).examples}
        left = sum(group.rows for group in data.groups)
    held = {example.instruction for example in task.examples}
    assert (task.name, len(held)) == ("books", 5)
    assert not held & trained
    assert len(held | trained) == 20
    assert left + len(task.examples) == len(rows)
    rare = {e.group for e in task.examples if e.instruction.startswith("Rare")}
    assert rare <= {"books/mixed"}
    assert len({e.group for e in task.examples} - rare) == sum(h.startswith("Q") for h in held)


def test_the_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    rows = toys(50) + questions(50) + questions(40, instruction="When?")
    found = []
    for name, lines in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        config = data_config(write_rows(tmp_path / name / "toys.jsonl", lines))
        with open_data(config, ValidationConfig(instructions=0.4), seed=3) as data:
            batches = [data.source.batch(step) for step in range(10)]
            found.append((data.validation, data.groups, batches))
    assert found[0] == found[1]
    assert len(found[0][0]) == 2


def test_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    config = data_config(write_rows(tmp_path / "toys.jsonl", toys()))
    refused(config, "Nothing is left to train on", sets=("toys",))


def test_a_file_that_changes_while_training_is_noticed(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "toys.jsonl", toys())
    with open_data(data_config(path), None, seed=0) as data:
        data.source.batch(0)
        os.utime(path, ns=(0, 0))
        with pytest.raises(DataError, match="changed while training"):
            data.source.batch(1)


def test_texts_come_back_as_they_were_written(tmp_path: Path) -> None:
    odd = ["a\u2028b", 'tab\tquote"', "é\U0001f600", "line\nbreak", "x" * 50]
    rows = [{"text": t, "instruction": "What?", "answer": f"{i}é"} for i, t in enumerate(odd)]
    config = data_config(write_rows(tmp_path / "odd.jsonl", rows), max_characters=20)
    with open_data(config, None, seed=0) as data:
        found = set(data.source.batch(0).examples)
    assert found == {
        Example(text[:20], "What?", f"{i}é", (), "odd/mixed") for i, text in enumerate(odd)
    }


def peak(path: Path, rows: int) -> int:
    """Most bytes in use while rows of different instructions and answers are opened and drawn."""
    with path.open("w") as file:
        for i in range(rows):
            row = {"text": f"page {i} " + "x" * 2000, "instruction": f"Why {i}?", "answer": f"{i}"}
            file.write(json.dumps(row) + "\n")
    config = data_config(path, table=None)
    tracemalloc.start()
    try:
        with open_data(config, ValidationConfig(rows=50), seed=0) as data:
            for step in range(5):
                data.source.batch(step)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_texts_are_not_kept_in_memory(tmp_path: Path) -> None:
    peak(tmp_path / "first.jsonl", 100)  # imports and caches of the interpreter
    small, large = peak(tmp_path / "a.jsonl", 1500), peak(tmp_path / "b.jsonl", 15_000)
    # A row has over 2,000 bytes.
    assert large - small < 500 * 13_500
