"""What can happen to the folder of transforms, and to the process that writes it."""

import errno
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone, tzinfo
from pathlib import Path

import pytest

from instruct_embeddings.errors import ArtefactError
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore, fit
from instruct_embeddings.transform.store import to_bytes
from tests.faults.child import Child
from tests.faults.conftest import COLOUR, Answers, Inject, ask_all, check_next_run, next_run
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults


def test_a_full_disk_in_the_middle_of_a_file(
    toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    """A limit of the operating system: the first 1,000 bytes fit, the rest does not."""
    with inject("the disk is full while a transform is written") as fault:
        with Child(folder, "--largest", "1000") as child:
            child.go()
            told = child.hears()
        if "error" in told:
            fault.count(error=OSError(errno.EFBIG, told["message"], told["file"]))
            assert "Make room" in told["message"]
            assert told["file"].startswith(str(folder))
        else:
            fault.count(wrong=told["answers"] != right)
        assert os.listdir(folder) == []
        check_next_run(fault, folder, toys, right)


def test_a_full_disk_leaves_what_was_stored_before(
    toys: Toys, right: Answers, folder: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    next_run(folder, toys).transform(COLOUR)
    [before] = [file.read_bytes() for file in folder.iterdir()]
    with inject("the disk is full while a transform is replaced") as fault:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            retriever = next_run(folder, toys)
            fault.ask(lambda: retriever.refit(COLOUR).instruction, COLOUR)
            assert [file.read_bytes() for file in folder.iterdir()] == [before]
            ask_all(fault, retriever, toys, right)
        check_next_run(fault, folder, toys, right)


@pytest.fixture
def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes the folder read-only; for a user whom permissions do not bind, as far as writes go."""
    folder.mkdir()

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def protect() -> None:
        folder.chmod(0o555)
        if os.access(folder, os.W_OK):
            monkeypatch.setattr(tempfile, "mkstemp", refuse)

    yield protect
    folder.chmod(0o755)


def test_a_read_only_store(
    toys: Toys,
    right: Answers,
    folder: Path,
    inject: Inject,
    read_only: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it holds serves; what has to be fitted is answered or clearly refused."""
    next_run(folder, toys).transform(COLOUR)
    read_only()
    with inject("the store is read-only") as fault:
        retriever = next_run(folder, toys)
        assert ask_all(fault, retriever, toys, right) == []
        other = "Which colour has it?"
        ask_all(fault, retriever, toys, right, other)
        monkeypatch.undo()
        folder.chmod(0o755)
        assert ask_all(fault, next_run(folder, toys), toys, right, other) == []


def test_a_file_where_the_store_should_be(
    toys: Toys, right: Answers, tmp_path: Path, inject: Inject
) -> None:
    place = tmp_path / "store"
    place.write_text("not a folder")
    with inject("a file stands where the store should be") as fault:
        ask_all(fault, next_run(place, toys), toys, right)
        assert place.read_text() == "not a folder"
        place.unlink()
        check_next_run(fault, place, toys, right)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:500])


def flip(file: Path) -> None:
    """Turn the first numbers of the first tensor into NaN."""
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start : start + 8] = b"\xff" * 8
    file.write_bytes(data)


def flip_a_letter(file: Path) -> None:
    """The description stays JSON, and says something else."""
    data = file.read_bytes()
    assert data.count(b"precision@") == 1
    file.write_bytes(data.replace(b'\\"rows\\"', b'\\"rowz\\"'))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def protect_from_reading(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)  # a ring: no permission lets anybody read it


@pytest.mark.parametrize("damage", [cut, flip, flip_a_letter, empty, protect_from_reading])
def test_a_damaged_transform_is_fitted_again(
    damage: Callable[[Path], None],
    toys: Toys,
    right: Answers,
    folder: Path,
    inject: Inject,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = next_run(folder, toys).transform(COLOUR).key
    damage(folder / f"{key}.safetensors")
    with inject(f"a stored transform is damaged ({damage.__name__})") as fault:
        listed = [summary.problem for summary in TransformStore(folder).summaries()]
        without_guide = InstructRetriever(toys.collection(), store=TransformStore(folder))
        fault.ask(lambda: without_guide.transform(COLOUR).instruction, COLOUR)
        with caplog.at_level(logging.WARNING, logger="instruct_embeddings"):
            check_next_run(fault, folder, toys, right)
        assert "cannot be used and is fitted again" in caplog.text
    assert len(listed) == 1
    assert fault.errors


def test_a_folder_where_a_transform_should_be(
    toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    key = next_run(folder, toys).transform(COLOUR).key
    file = folder / f"{key}.safetensors"
    file.unlink()
    file.mkdir()
    with inject("a folder stands where a transform should be") as fault:
        with pytest.raises(ArtefactError, match="cannot be read"):
            TransformStore(folder).get(key)
        ask_all(fault, next_run(folder, toys), toys, right)
        file.rmdir()
        check_next_run(fault, folder, toys, right)


def test_a_transform_that_comes_and_goes_while_it_is_looked_for(
    toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    """It is found whole or not at all, and a listing never stops."""
    store = TransformStore(folder)
    made = next_run(folder, toys).transform(COLOUR)
    whole = to_bytes(made)
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            store.delete(made.key)
            store.put(made)

    with inject("a transform is deleted and put back while it is looked for") as fault:
        with ThreadPoolExecutor(1) as pool:
            thread = pool.submit(come_and_go)
            try:
                for _ in range(200):
                    found = store.find(COLOUR, "metadata:colour", made.collection)
                    fault.count(wrong=found is not None and to_bytes(found) != whole)
                    fault.count(wrong={one.key for one in store.summaries()} > {made.key})
            finally:
                over.set()
            thread.result()
        check_next_run(fault, folder, toys, right)


class Clock(datetime):
    """A clock that jumps to another year at each look."""

    years: list[int]

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        year = cls.years.pop(0)
        return datetime(year, 1, 1, tzinfo=tz or timezone.utc)


@pytest.mark.parametrize("years", [[2099, 1970, 2026], [1970, 2099, 2026]])
def test_a_clock_that_jumps(
    years: list[int],
    toys: Toys,
    right: Answers,
    folder: Path,
    inject: Inject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time budgets are measured by another clock; a refit counts, whatever the year it says."""
    monkeypatch.setattr(fit, "datetime", Clock)
    monkeypatch.setattr(Clock, "years", list(years), raising=False)
    jumps = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr("time.time", lambda: float(next(jumps)))
    with inject(f"the clock says {years}") as fault:
        retriever = next_run(folder, toys)
        assert ask_all(fault, retriever, toys, right) == []
        again = retriever.refit(COLOUR)
        assert again.created.startswith(str(years[1]))
        [summary] = TransformStore(folder).summaries()
        assert summary.created == again.created
        TransformStore(folder).put(replace(again, guide="another", created="2026-01-01"))
        without_guide = InstructRetriever(toys.collection(), store=TransformStore(folder))
        assert ask_all(fault, without_guide, toys, right) == []
