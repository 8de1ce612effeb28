"""`aretrieve` leaves the event loop free, and eight first queries fit once."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding

from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Supervision
from instruct_embeddings.testing import TinyEncoder
from llama_index_instruct_embeddings import InstructionTransformRetriever

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"
PAUSE = 0.4


class SlowEmbedding(BaseEmbedding):
    """Takes its time, off the loop where it is asked from async code."""

    def _get_text_embedding(self, text: str) -> list[float]:
        time.sleep(PAUSE)
        vector: list[float] = TinyEncoder().encode([text])[0].tolist()
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, query)


class SlowGuide:
    """Sleeps while it judges, as an LLM would."""

    def __init__(self, fast: Any) -> None:
        self.fast = fast
        self.key = fast.key
        self.ids = fast.ids

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        time.sleep(PAUSE)
        supervision: Supervision = self.fast.judge(instruction, sample)
        return supervision


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


async def test_embedding_the_query_leaves_the_loop_free(index: VectorStoreIndex) -> None:
    retriever = InstructionTransformRetriever(index, embed_model=SlowEmbedding())
    assert await ticks_during(retriever.aretrieve(QUERY)) >= 10


async def test_fitting_leaves_the_loop_free(
    make_retriever: Callable[..., InstructionTransformRetriever], guide: Any
) -> None:
    retriever = make_retriever(guide=SlowGuide(guide), store=None, instruction=KIND)
    assert await ticks_during(retriever.aretrieve(QUERY)) >= 10
    assert guide.asked == [KIND]


def test_eight_first_queries_fit_once(cold: InstructionTransformRetriever, guide: Any) -> None:
    adapted = cold.with_instruction(KIND)
    together = Barrier(8)

    def ask(_: int) -> list[str]:
        together.wait(timeout=10)
        return [item.node.node_id for item in adapted.retrieve(QUERY)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert guide.asked == [KIND]
    assert answers == [answers[0]] * 8
