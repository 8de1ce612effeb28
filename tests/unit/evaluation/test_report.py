import sys
from pathlib import Path

import pytest

from instruct_embeddings.errors import ConfigError, MissingExtraError
from instruct_embeddings.evaluation import Estimate, Evaluation, Scored
from instruct_embeddings.evaluation.labelled import picture
from instruct_embeddings.transform import FitReport

FIT = FitReport(10, 10, {}, "precision@10", 0.5, 0.6, 0.7, {}, 0.1)
GENERIC = Scored("generic", Estimate(0.5, 0.4, 0.6), Estimate(0.2, 0.1, 0.3), None, None)
ADAPTED = Scored("adapted", Estimate(0.7, 0.65, 0.75), Estimate(0.4, 0.3, 0.5), None, None)
REPORT = Evaluation("Cost in $, or $$?", "labels:1", 10, 10, 2, 10, True, (GENERIC, ADAPTED), FIT)


def test_each_method_is_a_point_on_its_interval() -> None:
    left, right = picture(REPORT).axes
    assert (left.get_title("left"), right.get_title("left")) == ("precision@10", "V-measure")
    assert [label.get_text() for label in left.get_yticklabels()] == ["generic", "adapted"]
    lines = [line.get_xdata() for line in left.lines]
    assert [list(xs) for xs in lines] == [[0.4, 0.6], [0.5], [0.65, 0.75], [0.7]]
    assert [text.get_text() for text in right.texts] == ["0.200", "0.400"]


def test_the_instruction_is_the_title_and_no_formula() -> None:
    title = picture(REPORT).get_suptitle()
    assert title.startswith('"Cost in $, or $$?"\n10 rows with 2 labels')


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF")])
def test_it_is_saved_in_a_new_folder(tmp_path: Path, name: str, start: bytes) -> None:
    file = REPORT.plot(tmp_path / "new" / name)
    assert file == tmp_path / "new" / name
    assert file.read_bytes().startswith(start)


def test_other_endings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'report.txt': its name ends in '.txt'"):
        REPORT.plot("report.txt")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[eval\]"):
        REPORT.plot("report.png")
