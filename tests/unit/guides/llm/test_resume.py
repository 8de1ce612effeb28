"""A run that is killed pays for nothing twice."""

import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from instruct_embeddings.guides.llm import LLMGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels
from tests.llm_server import Call, PlainModel, llm_server
from tests.scripted_llm import ScriptedModel, colour_of, step_of
from tests.unit.guides.llm.conftest import COLOUR, EMBED, things

ROOT = Path(__file__).parents[4]
WORKERS = 2
COUNT = 30
# 8 calls for summaries, 3 clusters, a merge, 8 calls for labels.
CALLS = 20

JUDGE = """
import sys
from tests.llm_server import PlainModel
from tests.unit.guides.llm.test_resume import judge

judge(PlainModel(sys.argv[1]), sys.argv[2])
"""


def judge(model: object, cache: str | Path) -> tuple[Labels, LLMGuide]:
    guide = LLMGuide(model, embed=EMBED, cache=cache, concurrency=WORKERS, texts_per_call=4)
    sample = Rows(ids=tuple(map(str, range(COUNT))), texts=tuple(things(COUNT)))
    return guide.judge(COLOUR, sample), guide


@dataclass
class Stalling:
    """Answers some calls, then none until it is released.

    A worker sends its next call only when its last answer is on the disk. So when all workers
    wait, every answer that was given is kept.
    """

    answers: int
    model: ScriptedModel
    answered: list[str] = field(default_factory=list)
    all_wait: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: Call) -> str:
        if call.number >= self.answers + WORKERS:
            self.all_wait.set()
        if call.number > self.answers and not self.released.is_set():
            self.released.wait(30)
            return "too late"
        with self._lock:
            self.answered.append(call.user)
        return self.model.serve(call)


@pytest.mark.parametrize(("answers", "step"), [(3, "summarise"), (15, "label")])
def test_a_killed_run_is_resumed_and_repeats_no_answered_call(
    answers: int, step: str, tmp_path: Path
) -> None:
    script = Stalling(answers, ScriptedModel(colour_of))
    with llm_server(script) as server:
        run = [sys.executable, "-c", JUDGE, server.url, str(tmp_path / "cache")]
        child = subprocess.Popen(run, cwd=ROOT)
        try:
            assert script.all_wait.wait(30)
        finally:
            child.kill()
            child.wait()
            script.released.set()
        assert step_of(script.model.prompts[-1]) == step
        assert len(script.answered) == answers
        found, guide = judge(PlainModel(server.url), tmp_path / "cache")
    assert len(script.answered) == len(set(script.answered)) == CALLS
    assert guide.last_report is not None
    assert (guide.last_report.calls, guide.last_report.cached) == (CALLS - answers, answers)
    assert found == judge(ScriptedModel(colour_of), tmp_path / "other")[0]


def test_a_repeated_run_asks_nothing_and_finds_the_same(tmp_path: Path) -> None:
    model = ScriptedModel(colour_of)
    first, _ = judge(model, tmp_path)
    second, guide = judge(model, tmp_path)
    assert first == second
    assert len(model.prompts) == CALLS
    assert guide.last_report is not None
    assert (guide.last_report.calls, guide.last_report.cached) == (0, CALLS)
    assert guide.last_report.cost.calls == 0
