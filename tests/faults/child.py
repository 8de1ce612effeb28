"""Another process that searches the toys under COLOUR, and what can be done to it meanwhile.

    python -m tests.faults.child STORE [--pause judge|fsync] [--largest BYTES] [--refit]

Prints one line of JSON at each step: "ready", "paused", and at the end the answers or the error.
"""

import argparse
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform import TransformStore
from tests.faults.conftest import COLOUR, QUICK, answers
from tests.unit.conftest import make_toys

_ROOT = Path(__file__).resolve().parents[2]
_FOREVER = 600


class PausingGuide(MetadataGuide):
    """Stops in the middle of a fit and waits for its end."""

    def judge(self, instruction: str, sample: Rows) -> Labels:
        found = super().judge(instruction, sample)
        pause()
        return found


def pause() -> None:
    """Say so, and wait to be killed."""
    say("paused")
    time.sleep(_FOREVER)


def say(what: object) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Wait for a line of input, then search."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--pause", choices=("judge", "fsync"))
    parser.add_argument("--largest", type=int)
    parser.add_argument("--refit", action="store_true")
    asked = parser.parse_args(arguments)
    # A shell ignores it for what it runs in the background, and this process would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    guide = PausingGuide("colour") if asked.pause == "judge" else MetadataGuide("colour")
    toys = make_toys()
    retriever = InstructRetriever(
        toys.collection(), guide, store=TransformStore(asked.store), fit=QUICK
    )
    say("ready")
    sys.stdin.readline()
    if asked.pause == "fsync":
        os.fsync = lambda handle: pause()  # type: ignore[assignment]
    if asked.largest is not None:
        # As a full disk does, in the middle of a file; Python ignores the signal that comes first.
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked.largest, resource.RLIM_INFINITY))
    if asked.refit:
        retriever.refit(COLOUR)
    try:
        say({"answers": answers(retriever, toys)})
    except OSError as error:
        say({"error": type(error).__name__, "file": error.filename, "message": str(error)})


class Child:
    """The other process, seen from a test."""

    def __init__(self, store: Path, *options: str) -> None:
        """Start it and wait until it is ready."""
        self._process: Popen[str] = Popen(
            [sys.executable, "-m", "tests.faults.child", str(store), *options],
            stdin=PIPE,
            stdout=PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self.hears() == "ready"

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Let it search."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hears(self) -> Any:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait()}"
        return json.loads(line)

    def end(self, number: int) -> int:
        """Send a signal and wait; its exit status."""
        self._process.send_signal(number)
        return self._process.wait(30)


if __name__ == "__main__":
    main()
