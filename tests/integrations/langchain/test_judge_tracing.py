"""Callbacks and tracers see the judge below the retriever."""

import asyncio
import json
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from instruct_embeddings import ChatJudge, RelevanceFeedback
from langchain_instruct_embeddings import CompressorJudge, InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
Invoke = Callable[..., list[Document]]
CHAT = FakeListChatModel(responses=["yes"])


class Kept(BaseTracer):
    """Keeps the roots of the trees of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


class Asks(BaseDocumentCompressor):
    """Asks a chat model with the callbacks that it is given, and keeps the order."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        CHAT.invoke(query, {"callbacks": callbacks})
        return documents


def asks(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    CHAT.invoke(query)  # callbacks come with the context
    return [float("refund" in text) for text in texts]


@pytest.fixture(params=["invoke", "ainvoke"])
def invoke(request: pytest.FixtureRequest) -> Invoke:
    """Calls a runnable, once through each door."""

    def call(runnable: Any, query: str, *handlers: BaseCallbackHandler, **call: Any) -> Any:
        if request.param == "invoke":
            return runnable.invoke(query, {"callbacks": [*handlers]}, **call)
        return asyncio.run(runnable.ainvoke(query, {"callbacks": [*handlers]}, **call))

    return call


@pytest.mark.parametrize("judge", [asks, CompressorJudge(Asks())])
def test_the_judge_is_a_child_run_of_the_retriever(
    make_retriever: Make, invoke: Invoke, judge: Any
) -> None:
    tracer = Kept()
    retriever = make_retriever(feedback=RelevanceFeedback(judge, candidates=12))
    invoke(retriever, "printer refund", tracer)
    [root] = tracer.roots
    assert root.run_type == "retriever"
    [run] = root.child_runs
    assert (run.name, run.run_type, run.error) == ("judge", "chain", None)
    assert run.inputs == {"query": "printer refund", "instruction": None, "texts": 12}
    assert run.outputs is not None
    assert len(run.outputs["output"]) == 12
    [model] = run.child_runs
    assert model.name == "FakeListChatModel"


def test_a_chat_model_that_judges_appears_below_it(make_retriever: Make, invoke: Invoke) -> None:
    tracer = Kept()
    model = FakeListChatModel(responses=[json.dumps({"1": 3, "2": 0, "3": 1})])
    judge = ChatJudge(model, texts_per_call=3)  # several calls at the same time
    feedback = RelevanceFeedback(judge, candidates=12)
    invoke(make_retriever(feedback=feedback), "printer refund", tracer)
    [root] = tracer.roots
    [run] = root.child_runs
    assert feedback.counts.refined == 1
    assert [each.name for each in run.child_runs] == ["FakeListChatModel"] * 4


def test_it_is_seen_below_the_chain_that_the_retriever_is_part_of(
    make_retriever: Make, invoke: Invoke
) -> None:
    tracer = Kept()
    retriever = make_retriever(feedback=RelevanceFeedback(asks))
    invoke(retriever | RunnableLambda(len), "printer refund", tracer)
    [root] = tracer.roots
    assert [run.name for run in root.child_runs][1] == "len"
    assert [run.name for run in root.child_runs[0].child_runs] == ["judge"]


@pytest.mark.parametrize(
    ("answer", "error"), [([1.0], "1 scores for"), (RuntimeError("no credit"), "no credit")]
)
def test_its_error_is_that_of_its_run(
    make_retriever: Make, invoke: Invoke, answer: Any, error: str
) -> None:
    def broken(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    tracer = Kept()
    found = invoke(make_retriever(feedback=RelevanceFeedback(broken)), "printer refund", tracer)
    assert found
    [root] = tracer.roots
    [run] = root.child_runs
    assert run.error is not None
    assert error in run.error
    assert root.error is None


def test_a_judge_that_is_late_ends_its_run_without_disturbing_anybody(
    make_retriever: Make, invoke: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, ended = Event(), Event()

    class Ends(BaseCallbackHandler):
        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            ended.set()

    def late(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        go_on.wait(10)
        return [0.5] * len(texts)

    tracer = Kept()
    retriever = make_retriever(feedback=RelevanceFeedback(late, timeout=0.05))
    [first, *_] = invoke(retriever, "printer refund", tracer, Ends())
    assert first.metadata["judge_problem"] == "no answer within 0.05 seconds"
    go_on.set()
    assert ended.wait(10)
    assert len(tracer.roots) == 1
    assert not [record for record in caplog.records if record.name.startswith("langchain")]


def test_a_call_without_the_judge_has_no_such_run(make_retriever: Make, invoke: Invoke) -> None:
    tracer = Kept()
    retriever = make_retriever(feedback=RelevanceFeedback(asks))
    invoke(retriever, "printer refund", tracer, judge=False)
    assert tracer.roots[0].child_runs == []


def test_each_of_many_retrievers_at_once_sees_its_own_judge(make_retriever: Make) -> None:
    class Starts(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[tuple[Any, UUID | None]] = []
            self.retriever: UUID | None = None

        def on_retriever_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
            self.retriever = run_id

        def on_chain_start(
            self,
            serialized: dict[str, Any],
            inputs: Any,
            *,
            parent_run_id: UUID | None = None,
            **kwargs: Any,
        ) -> None:
            self.seen.append((inputs["query"], parent_run_id))

    async def all_at_once() -> list[Starts]:
        retriever = make_retriever(feedback=RelevanceFeedback(asks))
        handlers = [Starts() for _ in range(8)]
        await asyncio.gather(
            *(
                retriever.ainvoke(f"refund {i}", {"callbacks": [handler]})
                for i, handler in enumerate(handlers)
            )
        )
        return handlers

    for i, handler in enumerate(asyncio.run(all_at_once())):
        assert handler.seen == [(f"refund {i}", handler.retriever)]
