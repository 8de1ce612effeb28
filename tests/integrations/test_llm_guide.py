"""`LLMGuide` through the chat models of LangChain and LlamaIndex, over HTTP."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.llm import LLMGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.testing import TinyEncoder
from tests.llm_server import Call, LLMServer, Reply, Script, llm_server
from tests.scripted_llm import ScriptedModel, colour_of, step_of

COLOUR = "What colour is it?"
SECRET = "sk-very-secret-0123456789"
COLOURS = ("red", "green", "blue")
TEXTS = [f"a {COLOURS[i % 3]} thing, number {i}" for i in range(32)]
# 4 calls for summaries, 3 clusters, a merge, 4 calls for labels.
CALLS = 12


def langchain(server: LLMServer) -> Any:
    return ChatOpenAI(model="scripted", base_url=server.url, api_key=SECRET, max_retries=0)


def llama_index(server: LLMServer) -> Any:
    return OpenAILike(
        model="scripted", api_base=server.url, api_key=SECRET, max_retries=0, is_chat_model=True
    )


@pytest.fixture(params=[langchain, llama_index], ids=["langchain", "llama_index"])
def connect(request: pytest.FixtureRequest) -> Callable[[LLMServer], Any]:
    made: Callable[[LLMServer], Any] = request.param
    return made


def judge(guide: LLMGuide, texts: list[str] = TEXTS) -> list[str | None]:
    sample = Rows(ids=tuple(map(str, range(len(texts)))), texts=tuple(texts))
    return [next(iter(row), None) for row in guide.judge(COLOUR, sample).rows]


def guide(model: Any, **options: Any) -> LLMGuide:
    return LLMGuide(model, embed=TinyEncoder().encode, **options)


def first_time(script: Script, failure: Reply) -> Script:
    """Every prompt fails when it comes first."""
    seen: set[str] = set()
    lock = Lock()

    def serve(call: Call) -> Reply | str:
        with lock:
            new = call.user not in seen
            seen.add(call.user)
        return failure if new else script(call)

    return serve


def test_a_model_of_a_host_labels_and_is_named_without_its_key(
    connect: Callable[[LLMServer], Any], tmp_path: Path
) -> None:
    with llm_server(ScriptedModel(colour_of).serve) as server:
        one = guide(connect(server), cache=tmp_path)
        assert judge(one) == [colour_of(text) for text in TEXTS]
        calls = list(server.calls)
        assert judge(guide(connect(server), cache=tmp_path)) == [colour_of(t) for t in TEXTS]
        assert len(server.calls) == len(calls) == CALLS  # the second time all came from the cache
    assert one.key.startswith("llm:scripted:")
    assert SECRET not in repr(one) + one.key
    assert {call.authorization for call in calls} == {f"Bearer {SECRET}"}
    # The rules came as the system part, the texts as the user part.
    assert {step_of(call.system) for call in calls} == {"summarise", "name", "merge", "label"}
    assert not any("number 0" in call.system for call in calls)


def mended(script: Script, failure: Reply) -> Script:
    """Every prompt gets a bad reply until it quotes that."""
    return lambda call: script(call) if json.dumps(failure.text) in call.user else failure


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=429, text="slow down", headers={"Retry-After": "0"}),
        Reply(status=503, text="overloaded"),
        Reply(text="As a language model, I would say red."),
        Reply(text='{"1": 99}'),
    ],
    ids=["rate-limited", "overloaded", "nonsense", "out of range"],
)
def test_what_fails_once_is_asked_again(
    connect: Callable[[LLMServer], Any], failure: Reply
) -> None:
    # A repair is another prompt, which quotes the bad reply.
    fail = mended if failure.status == 200 else first_time
    with llm_server(fail(ScriptedModel(colour_of).serve, failure)) as server:
        found = judge(guide(connect(server), categories=COLOURS), TEXTS[:16])
        assert found == [colour_of(text) for text in TEXTS[:16]]
        assert len(server.calls) == 4  # two batches, each asked twice


def test_a_wrong_key_stops_at_once(connect: Callable[[LLMServer], Any]) -> None:
    def serve(call: Call) -> Reply:
        return Reply(status=401, text=f"Incorrect API key provided: {SECRET}")

    with llm_server(serve) as server:
        with pytest.raises(GuideError, match="The model scripted cannot be asked") as caught:
            judge(guide(connect(server), concurrency=2))
        assert len(server.calls) <= 2
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("count", [32, 33], ids=["in a batch", "alone in the last batch"])
def test_a_text_that_a_content_filter_rejects_is_counted_and_costs_no_other(
    connect: Callable[[LLMServer], Any], count: int
) -> None:
    model = ScriptedModel(colour_of)

    def serve(call: Call) -> Reply | str:
        if "number 32" in call.user or (count == 32 and "number 31" in call.user):
            return Reply(status=400, text="content_filter")
        return model.serve(call)

    texts = [*TEXTS, "a red thing, number 32"][:count]
    with llm_server(serve) as server:
        one = guide(connect(server), categories=COLOURS)
        assert judge(one, texts) == [*[colour_of(text) for text in texts[:-1]], None]
    assert one.last_report is not None
    assert (one.last_report.refused, one.last_report.labelled) == (1, count - 1)
