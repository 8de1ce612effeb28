"""What each fault did to searches: the table at the end of `make test-faults`."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from chromadb.errors import ChromaError
from rich.table import Table

from instruct_embeddings.errors import InstructEmbeddingsError

_LEAST_WORDS = 8


@dataclass
class Fault:
    """One fault, and what came of the requests sent while it lasted and after it.

    Attributes:
        name: What was done.
        requests: Searches, fits and writes asked for.
        answers: Those with the right answer.
        errors: Class of each clear error.
        wrong: Answers that were not right.
        lost: Documents that were stored and not found.
        times: Milliseconds of each request that was timed.
        survived: Whether the test held to its end.
    """

    name: str
    requests: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0
    times: list[float] = field(default_factory=list, repr=False)
    survived: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, call: Callable[[], object], right: object) -> Exception | None:
        """Send one request: what comes back must be right, or a clear error, which is returned."""
        started = time.perf_counter()
        try:
            found = call()
        except Exception as error:
            self.count(error=error)
            return error
        finally:
            self.times.append(1e3 * (time.perf_counter() - started))
        self.count(wrong=found != right)
        return None

    def count(self, *, wrong: bool = False, error: Exception | None = None) -> None:
        """Note what came of a request."""
        with self._lock:
            self.requests += 1
            if error is not None:
                check_clear(error)
                self.errors.append(type(error).__name__)
            elif wrong:
                self.wrong += 1
            else:
                self.answers += 1


def check_clear(error: Exception) -> None:
    """An error of this project, of Chroma, or one that names the file, with an explanation.

    Raises:
        AssertionError: The user could not know what happened or what to do.
    """
    if isinstance(error, ChromaError):
        return  # the server's own words, passed on
    ours = isinstance(error, InstructEmbeddingsError)
    named = isinstance(error, OSError) and error.filename is not None
    assert ours or named, f"not an error of ours: {error!r}"
    assert len(str(error).split()) >= _LEAST_WORDS, f"says too little: {error!r}"


class Ledger:
    """All faults of a run."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    @contextmanager
    def fault(self, name: str) -> Iterator[Fault]:
        """Note a fault; nothing may be wrong or lost at its end."""
        entry = Fault(name)
        self.faults.append(entry)
        yield entry
        assert (entry.wrong, entry.lost) == (0, 0), entry
        assert entry.requests, entry
        entry.survived = True

    def table(self) -> Table:
        """One line a fault, and their sums."""
        table = Table(title=f"{len(self.faults)} faults injected", show_footer=True)
        rows = self.faults
        survived = sum(entry.survived for entry in rows)
        table.add_column("fault", "all of them", overflow="fold")
        for heading, sum_ in (
            ("requests", sum(entry.requests for entry in rows)),
            ("right answers", sum(entry.answers for entry in rows)),
            ("clear errors", sum(len(entry.errors) for entry in rows)),
            ("wrong answers", sum(entry.wrong for entry in rows)),
            ("lost documents", sum(entry.lost for entry in rows)),
            ("p50 / p99 ms", _percentiles([took for entry in rows for took in entry.times])),
            ("survived", survived),
        ):
            table.add_column(heading, str(sum_), justify="right")
        for entry in rows:
            table.add_row(
                entry.name,
                str(entry.requests),
                str(entry.answers),
                _counted(entry.errors),
                str(entry.wrong),
                str(entry.lost),
                _percentiles(entry.times),
                "yes" if entry.survived else "NO",
            )
        return table


def _counted(names: Sequence[str]) -> str:
    different = ", ".join(sorted(set(names)))
    return f"{len(names)} ({different})" if names else "0"


def _percentiles(times: Sequence[float]) -> str:
    return " / ".join(f"{value:,.0f}" for value in np.percentile(times, (50, 99))) if times else ""
