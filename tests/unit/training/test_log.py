import json
from pathlib import Path

import pytest

from instruct_embeddings.training.log import LOG, PLOT, RunLog, TrainEvent, Window


def event(step: int, loss: float = 1.0, score: float | None = None) -> TrainEvent:
    measured = None if score is None else {"score": score}
    return TrainEvent(step, 9, loss, {"contrastive": loss}, 3.5, measured)


def steps(folder: Path) -> list[int]:
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_an_event_has_the_means_since_the_last_one() -> None:
    window = Window(seconds=2.0).batch({"a": 1.0, "b": 4.0}, 10).batch({"a": 2.0, "b": 6.0}, 20)
    found = window.event(7, 9, None)
    assert found == TrainEvent(7, 9, 6.5, {"a": 1.5, "b": 5.0}, 15.0, None)


def test_nothing_was_done_in_no_time() -> None:
    assert Window().event(0, 9, None) == TrainEvent(0, 9, 0, {}, 0.0, None)


def test_a_line_is_written_for_each_event(tmp_path: Path) -> None:
    log = RunLog(tmp_path, resume_at=0)
    log.write(event(1, 2 / 3, 0.5))
    [line] = (tmp_path / LOG).read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "step": 1,
        "steps": 9,
        "loss": 0.666667,
        "parts": {"contrastive": 0.666667},
        "examples_per_second": 3.5,
        "validation": {"score": 0.5},
    }


def test_what_came_after_the_saved_step_is_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path, resume_at=0)
    for step in (2, 4, 6):
        log.write(event(step))
    RunLog(tmp_path, resume_at=4).write(event(5))
    assert steps(tmp_path) == [2, 4, 5]


@pytest.mark.parametrize("cut", ['{"step": 4, "lo', "7", '{"other": 1}'])
def test_a_line_that_was_cut_off_ends_the_log(tmp_path: Path, cut: str) -> None:
    RunLog(tmp_path, resume_at=0).write(event(2))
    with (tmp_path / LOG).open("a", encoding="utf-8") as file:
        file.write(cut)
    RunLog(tmp_path, resume_at=9).write(event(4))
    assert steps(tmp_path) == [2, 4]


def test_the_plot_is_an_image_and_without_lines_there_is_none(tmp_path: Path) -> None:
    log = RunLog(tmp_path, resume_at=0)
    log.plot()
    assert not (tmp_path / PLOT).exists()
    for step in (1, 2):
        log.write(event(step, 1 / step, step / 10))
    log.plot()
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == [LOG, PLOT]
