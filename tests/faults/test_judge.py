"""A judge that is killed, hangs, or answers nonsense costs the refinement, never the answer."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings import InstructRetriever, RelevanceFeedback
from instruct_embeddings.testing import InMemoryCollection
from tests.faults.conftest import Inject

pytestmark = pytest.mark.faults
QUERY = [1.0, 0.0, 0.0]


class JudgeServer:
    """The process, and a judge that asks it."""

    key = "remote"

    def __init__(self, folder: Path) -> None:
        self.folder, self.how = folder, "good"

    def start(self) -> None:
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.judge_server", str(port_file)]
        )
        deadline = time.monotonic() + 30
        while not port_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.port = int(port_file.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> list[float | None]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{self.how}",
            data=json.dumps({"query": query, "texts": list(texts)}).encode(),
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            scores: list[float | None] = json.load(reply)
        return scores


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[JudgeServer]:
    server = JudgeServer(tmp_path)
    server.start()
    yield server
    server.kill()


def toys() -> InMemoryCollection:
    colours = ["red" if i % 3 == 2 else "blue" for i in range(60)]
    vectors = [[1.0, 0.5 if c == "red" else -0.4, 0.02 * i] for i, c in enumerate(colours)]
    return InMemoryCollection(vectors, texts=[f"{c} toy {i}" for i, c in enumerate(colours)])


def texts(retriever: InstructRetriever, **options: Any) -> list[str | None]:
    return [hit.text for hit in retriever.search(QUERY, query="toy", k=5, **options)]


@pytest.fixture
def retriever(judge: JudgeServer) -> InstructRetriever:
    return InstructRetriever(toys(), feedback=RelevanceFeedback(judge, timeout=1.0))


def refined(retriever: InstructRetriever) -> list[str | None]:
    found = texts(retriever)
    assert all((text or "").startswith("red") for text in found)
    return found


@pytest.mark.parametrize("how", ["hang", "half", "nan", "short", "words"])
def test_an_answer_that_is_none(
    how: str, judge: JudgeServer, retriever: InstructRetriever, inject: Inject
) -> None:
    first, right = texts(retriever, judge=False), refined(retriever)
    with inject(f"the judge's answer: {how}") as fault:
        judge.how = how
        fault.ask(lambda: texts(retriever), first)
        hits = retriever.search(QUERY, query="toy", k=5)
        assert all(hit.judge_problem for hit in hits)
        judge.how = "good"
        fault.ask(lambda: texts(retriever), right)


def test_a_judge_that_is_killed_and_comes_back(
    judge: JudgeServer, retriever: InstructRetriever, inject: Inject
) -> None:
    first, right = texts(retriever, judge=False), refined(retriever)
    with inject("SIGKILL of the judge between two questions") as fault:
        judge.kill()
        fault.ask(lambda: texts(retriever), first)
        judge.start()
        fault.ask(lambda: texts(retriever), right)


def test_a_judge_that_is_killed_while_it_reads(
    judge: JudgeServer, retriever: InstructRetriever, inject: Inject
) -> None:
    first = texts(retriever, judge=False)
    with inject("SIGKILL of the judge while it reads") as fault:
        judge.how = "hang"
        killer = threading.Timer(0.3, judge.kill)
        killer.start()
        fault.ask(lambda: texts(retriever), first)
        killer.join()
        counts = retriever.feedback.counts if retriever.feedback else None
        assert counts is not None
        assert counts.failed + counts.timed_out == 1


def test_judges_that_all_hang_hold_up_nobody(
    judge: JudgeServer, retriever: InstructRetriever, inject: Inject
) -> None:
    first = texts(retriever, judge=False)
    with inject("twenty questions to a judge that hangs") as fault:
        judge.how = "hang"
        threads = [
            threading.Thread(target=fault.ask, args=(lambda: texts(retriever), first))
            for _ in range(20)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        fault.ask(lambda: texts(retriever, judge=False), first)
        assert time.perf_counter() - began < 1.0  # a search without the judge does not wait
        for thread in threads:
            thread.join()
        assert time.perf_counter() - began < 10.0
