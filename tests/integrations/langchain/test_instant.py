"""LangChain's retriever answers new instructions at once."""

from collections.abc import Sequence

import pytest
from langchain_chroma import Chroma
from pydantic import ValidationError

from instruct_embeddings.instant import InstantQuery
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.movers import TinyInstant

INSTRUCTION = "Which kind of trouble?"


def retriever(chroma: Chroma, **fields: object) -> InstructionTransformRetriever:
    return InstructionTransformRetriever(
        vectorstore=chroma,
        instant=TinyInstant(),
        **fields,  # type: ignore[arg-type]
    )


def texts(found: Sequence[object]) -> list[str]:
    return [document.page_content for document in found]  # type: ignore[attr-defined]


def test_an_instruction_needs_neither_guide_nor_fit(chroma: Chroma) -> None:
    plain = texts(retriever(chroma, k=5).invoke("printer"))
    moved = texts(retriever(chroma, k=5).invoke("printer", instruction="refund"))
    assert all("printer" in text for text in plain)
    assert all("refund" in text for text in moved)


async def test_coroutines_get_the_same(chroma: Chroma) -> None:
    asked = retriever(chroma, k=5, instruction="refund")
    assert texts(await asked.ainvoke("printer")) == texts(asked.invoke("printer"))


def test_a_constraint_is_obeyed(chroma: Chroma) -> None:
    asked = retriever(chroma, k=5)
    found = texts(asked.invoke("printer", instruction="Only refund"))
    assert all("refund" in text for text in found)


def test_the_one_of_the_package_is_the_default(chroma: Chroma) -> None:
    assert isinstance(InstructionTransformRetriever(vectorstore=chroma).instant, InstantQuery)
    assert InstructionTransformRetriever(vectorstore=chroma, instant=None).instant is None
    assert InstructionTransformRetriever(vectorstore=chroma, instant=False).instant is None


def test_what_is_no_instant_query_is_refused(chroma: Chroma) -> None:
    with pytest.raises(ValidationError, match="instant='yes' is not an instant query"):
        InstructionTransformRetriever(vectorstore=chroma, instant="yes")  # type: ignore[arg-type]


def test_engines_with_another_instant_query_are_not_shared(chroma: Chroma) -> None:
    one = retriever(chroma)
    assert InstructionTransformRetriever(vectorstore=chroma, engine=one.engine).engine is one.engine
    other = InstructionTransformRetriever(vectorstore=chroma, engine=one.engine, instant=None)
    assert other.engine is not one.engine
