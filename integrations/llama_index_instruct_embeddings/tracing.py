"""A judge as an event of LlamaIndex: for callback managers and for the dispatcher."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode

from instruct_embeddings import RelevanceFeedback
from instruct_embeddings.hosts import AskJudge, JudgeQuestion, JudgeWatcher

_dispatcher = get_dispatcher(__name__)


def judge_event(callback_manager: CallbackManager, feedback: RelevanceFeedback) -> JudgeWatcher:
    """Asks a judge within a reranking event that has the texts and ends with their scores.

    Whatever of LlamaIndex the judge calls appears under it.
    """
    model_name = feedback.judge.key

    def watch(question: JudgeQuestion, ask: AskJudge) -> Sequence[float | None]:
        rows = zip(question.ids, question.texts, strict=True)
        nodes = [TextNode(id_=row, text=text) for row, text in rows]
        given = [NodeWithScore(node=node) for node in nodes]
        asked = " ".join(filter(None, [question.instruction, question.query]))
        payload: dict[str, Any] = {
            EventPayload.NODES: given,
            EventPayload.MODEL_NAME: model_name,
            EventPayload.QUERY_STR: asked,
            EventPayload.TOP_K: len(given),
        }
        _dispatcher.event(
            ReRankStartEvent(query=asked, nodes=given, top_n=len(given), model_name=model_name)
        )
        with callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            try:
                scores = ask()
            except Exception as exc:
                _dispatcher.event(ExceptionEvent(exception=exc))
                raise
            pairs = zip(nodes, scores, strict=True)
            judged = [NodeWithScore(node=node, score=score) for node, score in pairs]
            event.on_end(payload={EventPayload.NODES: judged})
        _dispatcher.event(ReRankEndEvent(nodes=judged))
        return scores

    return watch
