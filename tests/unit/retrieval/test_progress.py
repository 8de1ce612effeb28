"""What is told while a fit goes on."""

import logging

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import FitEvent, InstructRetriever
from instruct_embeddings.retrieval.fitting import FIRST_ROWS
from instruct_embeddings.supervision import Supervision, Targets
from tests.unit.conftest import COLOUR, Toys, make_toys
from tests.unit.retrieval.conftest import CountingGuide, FailingGuide
from tests.unit.retrieval.test_fit_all import SHAPE, ToyEncoder

QUICK = FitConfig(folds=2, time_budget=1e-9)


def test_steps_of_a_fit_by_labels(toys: Toys) -> None:
    told: list[FitEvent] = []
    retriever = InstructRetriever(toys.collection(), CountingGuide(), fit=QUICK, on_fit=told.append)
    retriever.transform(COLOUR)
    steps = [(one.stage, one.done, one.total) for one in told]
    assert steps[:2] == [("sampling", 90, 90), ("judging", 90, 90)]
    assert steps[2][:2] == ("fitting", 1)
    assert steps[-1] == ("done", 1, 1)
    assert {one.instruction for one in told} == {COLOUR}
    seconds = [one.seconds for one in told]
    assert seconds == sorted(seconds)
    retriever.transform(COLOUR)
    assert len(told) == len(steps)


def test_a_guide_that_encodes_tells_how_many_rows_it_has_read() -> None:
    told: list[FitEvent] = []
    config = FitConfig(folds=2, sample_size=600, time_budget=1e-9)
    retriever = InstructRetriever(
        make_toys(700).collection(), ToyEncoder(), fit=config, on_fit=told.append
    )
    retriever.prepare([COLOUR, SHAPE])
    for text in (COLOUR, SHAPE):
        judged = [one for one in told if one.instruction == text and one.stage == "judging"]
        assert (judged[0].done, judged[0].total) == (FIRST_ROWS, 600)
        assert [one.done for one in judged] == sorted({one.done for one in judged})
        assert [one.stage for one in told if one.instruction == text][-1] == "done"


def test_a_fit_that_fails_says_so(toys: Toys) -> None:
    told: list[FitEvent] = []
    retriever = InstructRetriever(
        toys.collection(), FailingGuide(times=1), fit=QUICK, on_fit=told.append
    )
    with pytest.raises(GuideError, match="out of order"):
        retriever.transform(COLOUR)
    assert [one.stage for one in told] == ["sampling", "failed"]
    retriever.transform(COLOUR)
    assert told[-1].stage == "done"


def test_what_the_callback_raises_ends_the_fit(toys: Toys) -> None:
    def stop(event: FitEvent) -> None:
        if event.stage == "judging":
            raise KeyboardInterrupt

    retriever = InstructRetriever(toys.collection(), CountingGuide(), fit=QUICK, on_fit=stop)
    with pytest.raises(KeyboardInterrupt):
        retriever.transform(COLOUR)


def test_the_log_says_what_a_fit_costs(toys: Toys, caplog: pytest.LogCaptureFixture) -> None:
    retriever = InstructRetriever(toys.collection(), CountingGuide(), fit=QUICK)
    with caplog.at_level(logging.INFO, logger="instruct_embeddings"):
        retriever.transform(COLOUR)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith(f"{COLOUR}: 90 rows sampled in ")
    assert lines[1].startswith(f"{COLOUR}: 90 rows judged after ")
    assert "settings tried on 2 folds of 90 judged units" in lines[2]


class WatchingGuide(ToyEncoder):
    """Looks at how many threads the kernels use while it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def judge_grid(self, instructions: "list[str]", sample: Rows) -> list[Targets]:  # type: ignore[override]
        self.threads |= {pool["num_threads"] for pool in threadpool_info()}
        return super().judge_grid(instructions, sample)


class WatchingNames(CountingGuide):
    """The same, for a guide that reads each sample once."""

    key = "names:0123"
    threads: frozenset[int] = frozenset()

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        self.threads = frozenset(pool["num_threads"] for pool in threadpool_info())
        return super().judge(instruction, sample)


@pytest.mark.parametrize("make", [WatchingGuide, WatchingNames])
def test_a_guide_encodes_on_one_thread(make: type) -> None:
    guide = make()
    np.ones((8, 8)) @ np.ones((8, 8))
    with threadpool_limits(limits=2):
        InstructRetriever(make_toys(260).collection(), guide, fit=QUICK).transform(COLOUR)
    assert guide.threads == {1}
