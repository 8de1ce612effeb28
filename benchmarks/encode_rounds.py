"""Contestants in processes of their own, timed in turns."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.encode_contestants import Contestant, Job, make_encode
from instruct_embeddings._types import FloatArray

_SPAWN = get_context("spawn")
_MB = 2**20


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        rows: One a contestant, the base first.
        missing: Contestants that are not installed.
        versions: Distribution to version.
    """

    rows: list[dict[str, Any]]
    missing: list[str]
    versions: dict[str, str]


def compare(contestants: Sequence[Contestant], job: Job, rounds: int) -> Compared:
    """Let contestants encode the same texts, in turns: A B C A B C.

    All are loaded before the clock starts. Each encodes everything once untimed, which gives the
    vectors to compare and warms it up.

    Args:
        contestants: The first is the base of ratios and cosines.
        job: What they encode.
        rounds: How often each is timed.
    """
    runners = [Runner(contestant, job) for contestant in contestants]
    try:
        about = [runner.receive() for runner in runners]
        ready = [(r, a) for r, a in zip(runners, about, strict=True) if "missing" not in a]
        if not ready or ready[0][0] is not runners[0]:
            raise SystemExit(f"{contestants[0].name} is not installed: {about[0]['missing']}")
        vectors = [runner.ask("vectors") for runner, _ in ready]
        seconds: list[list[float]] = [[] for _ in ready]
        for _ in range(rounds):
            for (runner, _), times in zip(ready, seconds, strict=True):
                times.append(runner.ask("seconds"))
        memory = [runner.ask("memory") for runner, _ in ready]
    finally:
        for runner in runners:
            runner.end()
    vectors_per_call = len(job.texts) * max(1, len(job.instructions))
    rows = [
        {
            "encoder": runner.contestant.name,
            "texts per second": rates(vectors_per_call, times),
            "ratio": round(median(seconds[0]) / median(times), 2),
            **likeness(vectors[0], own),
            **peak,
        }
        for (runner, _), times, own, peak in zip(ready, seconds, vectors, memory, strict=True)
    ]
    versions = {runner.contestant.distribution: str(a["version"]) for runner, a in ready}
    gone = [r.contestant.name for r, a in zip(runners, about, strict=True) if "missing" in a]
    return Compared(rows, gone, versions)


def rates(vectors: int, seconds: Sequence[float]) -> dict[str, float]:
    """Median, slowest and fastest, in vectors per second."""
    return {
        "median": round(vectors / median(seconds), 1),
        "min": round(vectors / max(seconds), 1),
        "max": round(vectors / min(seconds), 1),
    }


def likeness(base: FloatArray, own: FloatArray) -> dict[str, float]:
    """Cosines and largest absolute difference between two sets of rows, (n, d) each."""
    a, b = base.astype(np.float64), own.astype(np.float64)
    cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {
        "lowest cosine": round(float(cosines.min()), 6),
        "mean cosine": round(float(cosines.mean()), 6),
        "largest difference": float(f"{np.abs(a - b).max():.2e}"),
    }


class Runner:
    """A contestant in a fresh process."""

    def __init__(self, contestant: Contestant, job: Job) -> None:
        self.contestant = contestant
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, contestant, job))
        self._process.start()
        theirs.close()

    def ask(self, question: str) -> Any:
        """Send a question, wait for the answer."""
        self._pipe.send(question)
        return self.receive()

    def receive(self) -> Any:
        """The next answer.

        Raises:
            SystemExit: The process has ended; its traceback is on standard error.
        """
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit(f"{self.contestant.name} failed; see the traceback above.") from None

    def end(self) -> None:
        """Let the process end."""
        self._pipe.close()
        self._process.join()


def run_apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own, so that this one stays small."""
    process = _SPAWN.Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed; see the traceback above.")


def _serve(pipe: Connection, contestant: Contestant, job: Job) -> None:
    """The process: load, say so, answer until the other end closes."""
    import torch

    torch.set_num_threads(job.threads)
    texts = list(job.texts)
    try:
        encode, number = make_encode(contestant, job)
    except ModuleNotFoundError as error:
        pipe.send({"missing": str(error)})
        return
    encode(texts[:1])
    loaded = _resident_mb("VmRSS")
    pipe.send({"version": number})
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        if question == "memory":
            pipe.send(_memory(loaded, job.device))
            continue
        started = time.perf_counter()
        found = encode(texts)
        seconds = time.perf_counter() - started
        pipe.send(seconds if question == "seconds" else _rows(found))


def _rows(found: Any) -> FloatArray:
    array = np.asarray(found, dtype=np.float32)
    return array.reshape(-1, array.shape[-1])


def _memory(loaded: float, device: str) -> dict[str, float]:
    found = {"peak MB": _resident_mb("VmHWM"), "loaded MB": loaded}
    if device.startswith("cuda"):
        import torch

        found["GPU peak MB"] = round(torch.cuda.max_memory_allocated() / _MB, 1)
    return found


def _resident_mb(field: str) -> float:
    """Resident memory of this process, now (VmRSS) or at its peak (VmHWM)."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says on Linux includes the peak of the process that started this one.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return round(int(line.split()[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_MB if sys.platform == "darwin" else 1024), 1)
