"""The retriever inside the rest of LlamaIndex."""

from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine

from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"


def test_a_query_engine_passes_the_instruction_on(
    retriever: InstructionTransformRetriever,
) -> None:
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    response = engine.query(InstructionQueryBundle(QUERY, instruction=KIND))
    kinds = [item.node.metadata["kind"] for item in response.source_nodes]
    assert (len(kinds), kinds.count("refund") >= 19) == (20, True)
    assert QUERY in str(response)


async def test_an_async_query_engine_uses_the_default_instruction(
    retriever: InstructionTransformRetriever,
) -> None:
    engine = RetrieverQueryEngine.from_args(retriever.with_instruction(KIND), llm=MockLLM())
    response = await engine.aquery(QUERY)
    assert [item.node.metadata["kind"] for item in response.source_nodes][:8] == ["refund"] * 8


def test_callbacks_see_the_retrieval(index: Any) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    manager = CallbackManager([debug])
    InstructionTransformRetriever(index, callback_manager=manager).retrieve(QUERY)
    [(start, end)] = debug.get_event_pairs(CBEventType.RETRIEVE)
    assert start.payload is not None
    assert start.payload["query_str"] == QUERY
    assert end.payload is not None
    assert len(end.payload["nodes"]) == 2
