import sys

import pytest

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.texts import progress
from tests.models import TEXTS, tiny


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rich takes for a terminal, although output is captured."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("terminal")
def test_a_bar_is_drawn_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    with progress(10, True, seen.append) as report:
        report(4)
        report(6)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Embedding" in err
    assert seen == [4, 6]


@pytest.mark.usefixtures("terminal")
def test_what_the_program_prints_meanwhile_stays_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout, sys.stderr
    with progress(10, True, None) as report:
        assert (sys.stdout, sys.stderr) == before
        sys.stdout.write("a record\n")
        report(10)
    out, err = capsys.readouterr()
    assert out == "a record\n"
    assert "a record" not in err


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("total", "show"), [(1, True), (0, True), (10, False)])
def test_no_bar_for_a_single_text_nor_without_being_asked(
    total: int, show: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    with progress(total, show, seen.append) as report:
        report(total)
    assert capsys.readouterr() == ("", "")
    assert seen == [total]


@pytest.mark.usefixtures("terminal")
def test_the_bar_goes_when_the_work_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress(10, True, None):
        raise KeyError
    with progress(10, True, None) as report:  # a second one can start
        report(10)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("terminal")
async def test_every_way_to_encode_shows_a_bar_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with InstructEncoder.from_pretrained(tiny()) as encoder:
        encoder.encode(TEXTS)
        encoder.encode(TEXTS[:1], show_progress=True)
        await encoder.aencode(TEXTS)
        assert capsys.readouterr() == ("", "")
        encoder.encode(TEXTS, show_progress=True)
        assert "Embedding" in capsys.readouterr().err
        await encoder.aencode(TEXTS, show_progress=True)
        assert "Embedding" in capsys.readouterr().err
        encoder.encode_grid(TEXTS, ["which colour", "how many"], show_progress=True)
        out, err = capsys.readouterr()
    assert out == ""
    assert "Embedding" in err


@pytest.mark.parametrize("show", [True, False])
def test_batches_are_reported_until_all_texts_are_done(show: bool) -> None:
    seen: list[int] = []
    with InstructEncoder.from_pretrained(tiny(), batch_size=4) as encoder:
        encoder.encode(TEXTS, on_batch=seen.append, show_progress=show)
    assert seen == [4, 2]
