"""Which functions of this project a call passes through."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = Path(__file__).parents[1]
_SOURCES = (_ROOT / "instruct_embeddings", _ROOT / "integrations")


class Calls(Counter[tuple[str, str]]):
    """Calls by file, as a path below the repository, and qualified name of the function."""

    @property
    def files(self) -> set[str]:
        """Files passed through."""
        return {file for file, _ in self}

    def of(self, name: str) -> int:
        """Calls of functions whose qualified name ends so."""
        return sum(count for (_, function), count in self.items() if function.endswith(name))


@contextmanager
def recorded_calls() -> Iterator[Calls]:
    """Count the calls of functions of this project within a block, in this thread."""
    found = Calls()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        del argument
        file = Path(frame.f_code.co_filename)
        if event == "call" and any(file.is_relative_to(source) for source in _SOURCES):
            name = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            if not name.endswith(">"):  # comprehensions and lambdas are part of their function
                found[str(file.relative_to(_ROOT)), name] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)
