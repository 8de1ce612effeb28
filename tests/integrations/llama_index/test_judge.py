"""Rerankers of LlamaIndex judge: scores, an order, a part of the nodes, errors."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import IndexNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from instruct_embeddings import RelevanceFeedback
from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings import (
    InstructionQueryBundle,
    InstructionTransformRetriever,
    PostprocessorJudge,
)

Make = Callable[..., InstructionTransformRetriever]
Retrieve = Callable[..., list[NodeWithScore]]
TEXTS = ["refund", "question", "refund money", "failure"]


def refunds(text: str) -> float:
    return text.count("refund") + 0.1 * text.count("money")


class Rerank(BaseNodePostprocessor):
    """Returns the best nodes with scores."""

    model: str = "rerank-tiny"
    top_n: int = 2
    scored: bool = True
    _asked: list[str] = PrivateAttr(default_factory=list)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        assert query_bundle is not None
        self._asked.append(query_bundle.query_str)
        scored = [NodeWithScore(node=n.node, score=refunds(n.get_content())) for n in nodes]
        scored.sort(key=lambda node: -(node.score or 0))
        kept = scored[: self.top_n]
        return kept if self.scored else [NodeWithScore(node=node.node) for node in kept]


class Broken(BaseNodePostprocessor):
    """Fails, or returns what it was not given."""

    fails: bool = True

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if self.fails:
            raise RuntimeError("no credit left")
        return [NodeWithScore(node=TextNode(id_="other", text="a summary"))]


class Chooses(CustomLLM):
    """Reads the documents of a prompt as an LLM would, and gives marks to refunds."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="chooses-tiny")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        shown = prompt.rpartition("Document 1:")[2].partition("Question:")[0]
        documents = ("Document 1:" + shown).split("Document ")[1:]
        chosen = [
            f"Doc: {number}, Relevance: {9 if 'money' in text else 7}"
            for number, text in enumerate(documents, start=1)
            if "refund" in text
        ]
        return CompletionResponse(text="\n".join(chosen))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(params=["retrieve", "aretrieve"])
def retrieve(request: pytest.FixtureRequest) -> Retrieve:
    """Retrieves once through each door."""

    def call(retriever: InstructionTransformRetriever, query: Any) -> list[NodeWithScore]:
        if request.param == "retrieve":
            return retriever.retrieve(query)
        return asyncio.run(retriever.aretrieve(query))

    return call


def test_a_reranker_scores_all_although_it_shows_the_best() -> None:
    rerank = Rerank()
    judge = PostprocessorJudge(rerank)
    scores = judge.relevance("money back", "Only refunds.", TEXTS)
    assert scores == pytest.approx([1.0, 0.0, 1.1, 0.0])
    judge.relevance("money back", None, TEXTS)
    assert rerank._asked == ["Only refunds. money back", "money back"]
    assert rerank.top_n == 2


def test_an_order_without_scores_is_a_judgement() -> None:
    judge = PostprocessorJudge(Rerank(scored=False), form="{query} ({instruction})")
    assert judge.relevance("q", None, TEXTS) == [4.0, 3.0, 5.0, 2.0]


def test_what_a_language_model_does_not_choose_scores_below_what_it_chose() -> None:
    judge = PostprocessorJudge(LLMRerank(llm=Chooses(), top_n=1))
    assert judge.relevance("money", "Only refunds.", TEXTS) == [7.0, 6.0, 9.0, 6.0]
    assert judge.key == "postprocessor:LLMRerank:chooses-tiny:{instruction} {query}"


def test_a_node_that_was_not_given_is_an_error() -> None:
    with pytest.raises(ValueError, match="a node that was not given came back: 'other'"):
        PostprocessorJudge(Broken(fails=False)).relevance("q", None, TEXTS)


@pytest.mark.parametrize("wrong", [Rerank, refunds, None])
def test_what_is_no_reranker_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is no BaseNodePostprocessor of LlamaIndex"):
        PostprocessorJudge(wrong)


def test_a_key_of_your_own_names_the_judge() -> None:
    assert repr(PostprocessorJudge(Rerank(), key="mine")) == "PostprocessorJudge('mine')"
    assert "rerank-tiny" in PostprocessorJudge(Rerank()).key


def test_a_bare_reranker_as_feedback_is_an_error_that_says_what_to_write(
    make_retriever: Make,
) -> None:
    wrapped = r"llama_index_instruct_embeddings\.PostprocessorJudge\("
    with pytest.raises(ConfigError, match=rf"feedback=RelevanceFeedback\({wrapped}Rerank\("):
        make_retriever(feedback=Rerank())
    with pytest.raises(ConfigError, match=f"pass judge={wrapped}"):
        RelevanceFeedback(Rerank())


@pytest.mark.parametrize("reranker", [Rerank(), Rerank(scored=False), LLMRerank(llm=Chooses())])
def test_the_query_moves_to_what_the_reranker_wants(
    make_retriever: Make, retrieve: Retrieve, reranker: Any
) -> None:
    feedback = RelevanceFeedback(PostprocessorJudge(reranker), candidates=12)
    judged = make_retriever(feedback=feedback, similarity_top_k=8)
    found = retrieve(judged, "printer refund money")
    assert sum(node.metadata["kind"] == "refund" for node in found) >= 7
    assert not any("judge_problem" in node.metadata for node in found)
    assert feedback.counts.refined == 1
    retrieve(judged, InstructionQueryBundle("printer refund money", judge=False))
    assert feedback.counts.asked == 1


def test_nodes_say_that_the_judge_failed_and_stored_ones_do_not(
    make_retriever: Make, retrieve: Retrieve
) -> None:
    judge = PostprocessorJudge(Broken())
    judged = make_retriever(feedback=RelevanceFeedback(judge), similarity_top_k=3)
    found = retrieve(judged, "printer refund")
    for node in found:
        assert node.metadata["judge_problem"] == "RuntimeError: no credit left"
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "judge_problem" not in node.get_content(mode)
    plain = make_retriever(similarity_top_k=3).retrieve("printer refund")
    assert [node.node_id for node in plain] == [node.node_id for node in found]
    assert not any("judge_problem" in node.metadata for node in plain)


def test_a_node_of_the_docstore_is_not_changed(make_index: Callable[..., Any]) -> None:
    nodes = [IndexNode(id_=f"n{i}", index_id=f"n{i}", text=f"printer {i}") for i in range(4)]
    index = make_index(nodes, store_nodes_override=True)
    judge = PostprocessorJudge(Broken())
    judged = InstructionTransformRetriever(index, feedback=RelevanceFeedback(judge), instant=None)
    found = judged.retrieve("printer")
    assert all(isinstance(node.node, IndexNode) for node in found)
    assert all("judge_problem" in node.metadata for node in found)
    stored = index.docstore.get_nodes([node.node_id for node in found])
    assert not any("judge_problem" in node.metadata for node in stored)


def test_the_callback_manager_sees_the_reranking_below_the_retrieval(
    make_retriever: Make, retrieve: Retrieve
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    feedback = RelevanceFeedback(PostprocessorJudge(Rerank()), candidates=12)
    judged = make_retriever(feedback=feedback, callback_manager=CallbackManager([debug]))
    retrieve(judged, "printer refund")
    [(start, end)] = debug.get_event_pairs(CBEventType.RERANKING)
    assert start.payload is not None
    assert end.payload is not None
    assert start.payload[EventPayload.QUERY_STR] == "printer refund"
    assert start.payload[EventPayload.MODEL_NAME] == feedback.judge.key
    assert len(start.payload[EventPayload.NODES]) == 12
    assert all(node.score is not None for node in end.payload[EventPayload.NODES])
    [(retrieval, _)] = debug.get_event_pairs(CBEventType.RETRIEVE)
    traced = debug._trace_map
    assert start.id_ in traced[retrieval.id_]


def test_the_callback_manager_sees_the_error(make_retriever: Make, retrieve: Retrieve) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    feedback = RelevanceFeedback(PostprocessorJudge(Broken()))
    retrieve(make_retriever(feedback=feedback, callback_manager=CallbackManager([debug])), "refund")
    [(_, end)] = debug.get_event_pairs(CBEventType.RERANKING)
    assert end.payload is not None
    assert str(end.payload[EventPayload.EXCEPTION]) == "no credit left"


class Names(BaseEventHandler):
    """Names of events."""

    _seen: list[str] = PrivateAttr(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self._seen.append(event.class_name())


@pytest.mark.parametrize("fails", [False, True])
def test_the_dispatcher_sees_start_and_end(
    make_retriever: Make, retrieve: Retrieve, fails: bool
) -> None:
    names = Names()
    root = get_dispatcher()
    root.add_event_handler(names)
    try:
        judge = PostprocessorJudge(Broken() if fails else Rerank())
        retrieve(make_retriever(feedback=RelevanceFeedback(judge)), "printer refund")
    finally:
        root.event_handlers.remove(names)
    end = "ExceptionEvent" if fails else "ReRankEndEvent"
    judged = [name for name in names._seen if name.startswith(("ReRank", "Exception"))]
    assert judged == ["ReRankStartEvent", end]
    assert names._seen.index("RetrievalStartEvent") < names._seen.index("ReRankStartEvent")


def test_any_judge_is_seen_whatever_it_is(make_retriever: Make, retrieve: Retrieve) -> None:
    def judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        return [refunds(text) for text in texts]

    debug = LlamaDebugHandler(print_trace_on_end=False)
    feedback = RelevanceFeedback(judge)
    judged = make_retriever(feedback=feedback, callback_manager=CallbackManager([debug]))
    retrieve(judged, "printer refund")
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1
