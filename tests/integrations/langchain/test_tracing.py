"""What callbacks and LangSmith get to see."""

from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_instruct_embeddings import InstructionTransformRetriever

KIND = "What kind of request is it?"


class Notes(BaseCallbackHandler):
    """Writes down what happens to a retriever."""

    def __init__(self) -> None:
        self.started: list[tuple[str, list[str], dict[str, Any]]] = []
        self.ended: list[int] = []
        self.failed: list[str] = []

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.started.append((query, tags or [], metadata or {}))

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(len(documents))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed.append(type(error).__name__)


class AsyncNotes(AsyncCallbackHandler):
    """The same for async runs."""

    def __init__(self) -> None:
        self.ended: list[int] = []

    async def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(len(documents))


def test_callbacks_see_start_and_end(retriever: InstructionTransformRetriever) -> None:
    notes = Notes()
    retriever.invoke("paper jam", {"callbacks": [notes]}, k=2, instruction=KIND)
    [(query, tags, metadata)] = notes.started
    assert query == "paper jam"
    assert {"Chroma", "TinyEmbeddings"} <= set(tags)
    assert metadata["ls_retriever_name"] == "instructiontransform"
    assert metadata["ls_vector_store_provider"] == "Chroma"
    assert metadata["ls_embedding_provider"] == "TinyEmbeddings"
    assert (notes.ended, notes.failed) == ([2], [])


async def test_async_callbacks_see_the_end(retriever: InstructionTransformRetriever) -> None:
    notes = AsyncNotes()
    await retriever.ainvoke("paper jam", {"callbacks": [notes]}, k=3)
    assert notes.ended == [3]


def test_callbacks_see_errors(retriever: InstructionTransformRetriever) -> None:
    notes = Notes()
    with pytest.raises(ValueError, match="instruction is empty"):
        retriever.invoke("paper jam", {"callbacks": [notes]}, instruction="")
    assert notes.failed == ["InstructionError"]


def test_it_is_a_step_of_a_chain(retriever: InstructionTransformRetriever) -> None:
    def texts(documents: list[Document]) -> str:
        return "\n".join(document.page_content for document in documents)

    chain = {
        "context": retriever.bind(instruction=KIND, k=2) | texts,
        "question": RunnablePassthrough(),
    } | RunnableLambda(lambda given: f"{given['question']}: {given['context']}")
    answer = chain.invoke("refund money")
    assert answer.startswith("refund money: ")
    assert answer.count("refund money case") == 2
