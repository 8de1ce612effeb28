"""What is tried: examples, and what has to hold for each of them."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from instruct_embeddings.errors import InstructEmbeddingsError

# Of one example; a reader that takes longer hangs, for all that a user can tell.
SLOWEST = 20.0
_ROUND = 200
_LONGEST_MESSAGE = 3000
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@dataclass(frozen=True)
class Target:
    """A reader under trial.

    Attributes:
        name: Of the reader.
        examples: What it is given.
        check: Reads one example, with a folder to write it to: either a value that is what it
            should be, or one of our errors, which it raises.
        few: Examples in the default tests.
    """

    name: str
    examples: SearchStrategy[Any]
    check: Callable[[Any, Path], object]
    few: int = 40

    def short(self, folder: Path) -> None:
        """A few examples, the same in every run."""

        @settings(max_examples=self.few, derandomize=True, **_COMMON)
        @given(self.examples)
        def attempt(example: Any) -> None:
            self._try(example, folder)

        attempt()

    def long(self, folder: Path, seconds: float, start: int) -> int:
        """New examples for so many seconds, in rounds of consecutive seeds; how many they were."""
        end, tried = time.monotonic() + seconds, 0

        def attempt(example: Any) -> None:
            nonlocal tried
            if time.monotonic() < end:
                tried += 1
                self._try(example, folder)

        number = start
        while time.monotonic() < end:
            rounds = settings(max_examples=_ROUND, phases=[Phase.generate, Phase.shrink], **_COMMON)
            seed(number)(rounds(given(self.examples)(attempt)))()
            number += 1
        return tried

    def _try(self, example: Any, folder: Path) -> None:
        begin = time.monotonic()
        try:
            self.check(example, folder)
        except InstructEmbeddingsError as exc:
            check_message(str(exc))
        took = time.monotonic() - begin
        assert took < SLOWEST, f"{self.name} took {took:.0f} seconds"


def check_message(message: str) -> None:
    """Sentences of reasonable length that can be printed, at the end what to do."""
    message.encode()
    assert 40 < len(message) < _LONGEST_MESSAGE, message[:_LONGEST_MESSAGE]
    assert len(re.findall(r"[.;:!?)](?:\s|$)", message)) >= 2, f"what to do? {message}"
    # Memory that could not be had was asked for: nothing of that size is to be tried.
    assert not re.search(r"allocate|MemoryError", message), message


def expect(condition: object, what: str) -> None:
    """A property of a value that was read."""
    if not condition:
        pytest.fail(what)
