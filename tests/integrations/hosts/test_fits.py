"""Fits of a retriever: once, off the event loop, kept, reported, measured and explained."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from instruct_embeddings import FitConfig, FitEvent, Hit, Questions, TransformStore
from instruct_embeddings.errors import ConfigError, GuideError, InstructionError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Supervision
from tests.integrations.hosts.conftest import Host
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.llama_index.conftest import TinyEmbedding
from tests.integrations.tickets import KIND, CountingGuide, asked_tickets
from tests.movers import TinyInstant

QUERY = "printer toner jam refund"
PAUSE = 0.4

Make = Callable[..., Any]
Find = Callable[..., list[Hit]]


class SlowEmbeddings(TinyEmbeddings):
    """Takes its time, in a worker thread where it is called from async code."""

    def embed_query(self, text: str) -> list[float]:
        time.sleep(PAUSE)
        return super().embed_query(text)


class SlowEmbedding(TinyEmbedding):
    """The same for LlamaIndex."""

    async def _aget_query_embedding(self, query: str) -> list[float]:
        await asyncio.to_thread(time.sleep, PAUSE)
        return self._get_text_embedding(query)


class SlowGuide:
    """Sleeps while it judges, as an LLM would."""

    def __init__(self, fast: CountingGuide) -> None:
        self.fast, self.key, self.ids = fast, fast.key, fast.ids

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        time.sleep(PAUSE)
        return self.fast.judge(instruction, sample)


async def ticks_during(call: Any) -> int:
    """How often a task that wants to run every 10 ms ran while the call was under way."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await call
    ticking.cancel()
    return ticks


async def test_embedding_the_query_leaves_the_loop_free(host: Host) -> None:
    slow = SlowEmbeddings() if type(host).__name__ == "LangChain" else SlowEmbedding()
    assert await ticks_during(host.afind(host.make(model=slow), QUERY)) >= 10


async def test_fitting_leaves_the_loop_free(make: Make, guide: CountingGuide, host: Host) -> None:
    retriever = make(guide=SlowGuide(guide), store=None)
    assert await ticks_during(host.afind(retriever, QUERY, instruction=KIND)) >= 10
    assert guide.asked == [KIND]


def test_eight_first_searches_fit_once(make: Make, guide: CountingGuide, host: Host) -> None:
    retriever, together = make(store=None), Barrier(8)

    def search(_: int) -> list[Hit]:
        together.wait(timeout=10)
        return host.find(retriever, QUERY, instruction=KIND, k=5)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(search, range(8)))
    assert guide.asked == [KIND]
    assert answers == [answers[0]] * 8


def test_the_next_process_finds_the_transform_in_the_store(
    make: Make, guide: CountingGuide, host: Host, tmp_path: Path
) -> None:
    retrievers = (make(store=tmp_path), make(store=str(tmp_path)), make(store=tmp_path, guide=None))
    first, *others = [host.find(one, QUERY, instruction=KIND, k=10) for one in retrievers]
    assert guide.asked == [KIND]
    assert others == [first, first]


def test_settings_reach_the_engine(make: Make, tmp_path: Path) -> None:
    engine = make(fit=FitConfig(sample_size=50), force=True, store=tmp_path / "kept").engine
    assert engine.fit_config == FitConfig(sample_size=50)
    assert engine.force
    assert isinstance(engine.store, TransformStore)
    assert engine.store.path == tmp_path / "kept"


def test_a_report_can_be_had_before_the_first_query(make: Make, guide: CountingGuide) -> None:
    cold = make(store=None)
    report = cold.report(KIND)
    assert report.label_counts == {"refund": 32, "question": 32, "failure": 32}
    assert report.adapted > report.generic
    assert cold.transform_for(KIND).report == report
    assert guide.asked == [KIND]
    with pytest.raises(InstructionError, match="a plain sentence, got None"):
        cold.report()
    assert make(instruction=KIND).transform_for().instruction == KIND


def test_judged_questions_compare_generic_with_adapted(make: Make, host: Host) -> None:
    queries, relevant = asked_tickets()
    report = make().evaluate(queries, relevant, instruction=KIND, blends=[1.0])
    assert report.questions == len(queries)
    assert report[1.0].ndcg > report[0.0].ndcg
    assert report.blend == 1.0
    hits = host.find(make(), queries[0], instruction=KIND, k=10)
    first = make().evaluate(queries[:1], relevant[:1], instruction=KIND, blends=[1.0])
    found = {hit.id for hit in hits} & set(relevant[0])
    assert first[1.0].recall == pytest.approx(len(found) / len(relevant[0]))


def test_judged_questions_have_the_own_instruction_and_filter(make: Make) -> None:
    queries, relevant = asked_tickets()
    own = make(instruction=KIND, filter={"area": "billing"})
    qrels = {str(i): dict.fromkeys(ids, 1) for i, ids in enumerate(relevant)}
    assert own.evaluate(dict(enumerate(queries)), qrels, blends=[1.0]).missing > 0
    with pytest.raises(InstructionError, match="no instruction to evaluate"):
        make().evaluate(queries, relevant)
    with pytest.raises(ConfigError, match="None of the 1 relevant rows"):
        own.evaluate(["a ticket"], [["nowhere"]])
    with pytest.raises(TypeError, match="no argument 'filtered'"):
        own.evaluate(queries, relevant, filtered=None)


def test_judged_questions_choose_the_blend(make: Make, host: Host, tmp_path: Path) -> None:
    queries, relevant = asked_tickets()
    judged = make(store=tmp_path, questions=Questions(queries, relevant, KIND))
    report = judged.report(KIND)
    assert report.questions is not None
    assert report.questions.questions == len(queries)
    assert report.blend == report.questions.blend > 0
    same = host.find(judged, queries[0], instruction=KIND, blend=report.blend)
    assert host.find(judged, queries[0], instruction=KIND) == same
    assert make(store=tmp_path, guide=None).report(KIND) == report  # in the next process


def test_explained_results_are_those_of_the_retriever(make: Make, host: Host) -> None:
    found = make().explain(QUERY, KIND, k=8)
    adapted = host.find(make(), QUERY, k=8, instruction=KIND)
    assert [hit.id for hit in found.hits[:8]] == [hit.id for hit in adapted]
    generic = {hit.generic_rank: hit.id for hit in found.hits}
    plain = host.find(make(), QUERY, k=8)
    assert [generic[rank] for rank in range(1, 9)] == [hit.id for hit in plain]


def test_options_of_the_retriever_hold_in_explanations(make: Make) -> None:
    found = make(instruction=KIND, filter={"area": "login"}, exact=True).explain(QUERY)
    assert found.instruction == KIND
    assert {hit.id.split("-")[0] for hit in found.hits} == {"login"}
    assert make(blend=0.0).explain(QUERY, KIND, sample=40).rows == 40


@pytest.mark.parametrize("instruction", [None, {KIND: 0.5, "Which area is it?": 0.5}])
def test_one_instruction_is_explained(make: Make, instruction: object) -> None:
    with pytest.raises(InstructionError, match="plain sentence"):
        make(instruction=instruction).explain(QUERY)


def test_an_explanation_needs_a_guide_as_any_search(host: Host) -> None:
    with pytest.raises(GuideError):
        host.make(instant=None).explain(QUERY, KIND)


def test_without_a_guide_the_instant_query_is_explained(host: Host) -> None:
    retriever = host.make(instant=TinyInstant())
    instruction = "No printer tickets."
    found = retriever.explain(QUERY, instruction, k=5)
    assert (found.ranked_by, found.report) == ("instant", None)
    hits = host.find(retriever, QUERY, k=5, instruction=instruction)
    assert [hit.id for hit in found.hits[:5]] == [hit.id for hit in hits]
    [reading] = found.constraints
    assert reading.proposal is not None
    assert reading.proposal.where == {"area": {"$ne": "printer"}}


def test_steps_of_a_fit_are_reported(make: Make) -> None:
    events: list[FitEvent] = []
    make(store=None, on_fit=events.append).transform_for(KIND)
    assert [event.stage for event in events][:2] == ["sampling", "judging"]
    assert events[-1].stage == "done"
    assert {event.instruction for event in events} == {KIND}
