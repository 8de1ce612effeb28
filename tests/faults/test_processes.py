"""Two processes at one store, and processes that are ended while they fit or write."""

import os
import signal
from pathlib import Path

import pytest

from instruct_embeddings.transform import TransformStore
from tests.faults.child import Child
from tests.faults.conftest import COLOUR, Answers, Inject, check_next_run, next_run
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("round_", range(3))
def test_two_processes_fit_the_same_instruction(
    round_: int, toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    with inject(f"two processes fit the same instruction, round {round_ + 1}") as fault:
        with Child(folder) as one, Child(folder) as other:
            one.go()
            other.go()
            for child in (one, other):
                for found, ids in zip(child.hears()["answers"], right, strict=True):
                    fault.count(wrong=found != ids)
        check_next_run(fault, folder, toys, right)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_during_a_fit(
    number: signal.Signals, toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    with inject(f"{number.name} during a fit") as fault:
        with Child(folder, "--pause", "judge") as child:
            child.go()
            assert child.hears() == "paused"
            assert child.end(number) != 0
        assert not folder.exists()
        check_next_run(fault, folder, toys, right)


def test_a_process_that_is_killed_while_it_writes(
    toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    """Its half-written file is nobody's transform, and the first write a day later removes it."""
    with inject("SIGKILL while a transform is written") as fault:
        with Child(folder, "--pause", "fsync") as child:
            child.go()
            assert child.hears() == "paused"
            [half] = folder.iterdir()
            assert child.end(signal.SIGKILL) == -signal.SIGKILL
        assert TransformStore(folder).keys() == []
        check_next_run(fault, folder, toys, right)
        assert half.exists()
        yesterday = half.stat().st_mtime - 25 * 3600
        os.utime(half, (yesterday, yesterday))
        fault.ask(lambda: next_run(folder, toys).refit(COLOUR).instruction, COLOUR)
        assert not half.exists()


def test_a_process_that_is_killed_while_it_replaces(
    toys: Toys, right: Answers, folder: Path, inject: Inject
) -> None:
    """The transform of before serves: the other process reads it, and is killed in the refit."""
    next_run(folder, toys).transform(COLOUR)
    [before] = [file.read_bytes() for file in folder.iterdir()]
    with inject("SIGKILL while a transform is replaced") as fault:
        with Child(folder, "--pause", "fsync", "--refit") as child:
            child.go()
            assert child.hears() == "paused"
            assert child.end(signal.SIGKILL) == -signal.SIGKILL
        assert [file.read_bytes() for file in folder.glob("*.safetensors")] == [before]
        check_next_run(fault, folder, toys, right)
        for half in folder.glob(".writing-*"):
            half.unlink()
