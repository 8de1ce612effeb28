"""Async calls leave the event loop free."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings

from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Supervision
from langchain_instruct_embeddings import InstructionTransformRetriever

KIND = "What kind of request is it?"
PAUSE = 0.4


class SlowEmbeddings(Embeddings):
    """Sleeps as a busy model would, in a worker thread when asked from async code."""

    def __init__(self, fast: Embeddings) -> None:
        self.fast = fast
        self.async_queries = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.fast.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        time.sleep(PAUSE)
        return self.fast.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        self.async_queries += 1
        return await super().aembed_query(text)


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


async def test_embedding_the_query_leaves_the_loop_free(
    chroma: Chroma, open_chroma: Callable[..., Chroma]
) -> None:
    assert chroma.embeddings is not None
    slow = SlowEmbeddings(chroma.embeddings)
    store = open_chroma(slow, name=chroma._collection.name)
    retriever = InstructionTransformRetriever(vectorstore=store)
    assert await ticks_during(retriever.ainvoke("paper jam")) >= 10
    assert slow.async_queries == 1


async def test_fitting_leaves_the_loop_free(
    make_retriever: Callable[..., InstructionTransformRetriever], guide: Any
) -> None:
    retriever = make_retriever(guide=SlowGuide(guide), store=None)
    assert await ticks_during(retriever.ainvoke("paper jam", instruction=KIND)) >= 10
    assert guide.asked == [KIND]
