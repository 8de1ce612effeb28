"""`LLMGuide` and `ChatJudge` on a language model that runs, through the clients of both hosts.

A base model of 270M parameters labels badly. What holds all the same: it is bound to the form of
the reply, all rows are accounted for, and what its server counts was estimated within a tenth.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike

from instruct_embeddings import ChatJudge, InstructRetriever, LLMGuide, RelevanceFeedback
from instruct_embeddings.protocols import Rows
from instruct_embeddings.testing import InMemoryCollection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES = (EXAMPLES / "data" / "tickets.jsonl").read_text(encoding="utf-8").splitlines()[:4]
TEXTS = tuple(json.loads(line)["text"] for line in LINES)
INSTRUCTION = "What kind of problem is reported?"
KINDS = {"bug": "something behaves wrongly", "lost data": "something has disappeared"}


@pytest.fixture(scope="module")
def served() -> ModuleType:
    pytest.importorskip("xllamacpp", reason="`make test-slow` installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        return import_module("live_model")


def langchain(served: ModuleType) -> Any:
    return ChatOpenAI(
        model=served.NAME,
        base_url=served.address(),
        api_key="none",
        max_retries=0,
        temperature=0,
        max_tokens=200,
        timeout=600,
    )


def llama_index(served: ModuleType) -> Any:
    return OpenAILike(
        model=served.NAME,
        api_base=served.address(),
        api_key="none",
        is_chat_model=True,
        max_retries=0,
        temperature=0,
        max_tokens=200,
        timeout=600,
    )


@pytest.mark.parametrize("connect", [langchain, llama_index])
def test_every_row_is_answered_within_the_estimate(
    served: ModuleType, connect: Callable[[ModuleType], Any]
) -> None:
    guide = LLMGuide(connect(served), categories=KINDS, texts_per_call=4)
    rows = Rows(ids=tuple("abcd"), texts=TEXTS)
    estimated = guide.estimate(INSTRUCTION, rows)
    labels = guide.judge(INSTRUCTION, rows)
    report = guide.last_report
    assert report is not None
    assert {label for row in labels.rows for label in row} <= set(KINDS)
    assert (report.unparsable, report.refused, report.unread) == (0, 0, 0)
    assert report.labelled + report.none == report.rows == 4
    # One call, with no repair, whose tokens the server counted.
    assert (report.calls, report.cost.counted) == (1, 1)
    assert estimated.input_tokens == pytest.approx(report.cost.input_tokens, rel=0.1)


def test_without_a_schema_its_failures_are_counted(served: ModuleType) -> None:
    # What `bind` wraps is asked without one.
    model = langchain(served).bind(max_tokens=40)
    judge = ChatJudge(model)
    assert judge.relevance("lost photos", INSTRUCTION, TEXTS) == [None] * 4
    assert judge.spent.calls == judge.spent.counted == 2  # asked, and asked to repair it


def test_a_search_is_judged_by_it(served: ModuleType) -> None:
    judge = ChatJudge(langchain(served))
    feedback = RelevanceFeedback(judge, candidates=4, timeout=600)
    vectors = np.eye(4, 8) + 0.1
    retriever = InstructRetriever(InMemoryCollection(vectors, texts=TEXTS), feedback=feedback)
    hits = retriever.search(vectors[0], query="it ate my photos", k=4)
    assert [hit.judge_problem for hit in hits] == [None] * 4
    assert all(hit.judge_score is not None for hit in hits)
    assert feedback.counts.asked == 1
    assert judge.spent.counted == 1
    estimated = judge.estimate("it ate my photos", None, TEXTS)
    assert estimated.input_tokens == pytest.approx(judge.spent.input_tokens, rel=0.1)
