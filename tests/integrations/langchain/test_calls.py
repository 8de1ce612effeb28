"""What a call may ask for, in `invoke` and in `ainvoke`, and what it gets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from instruct_embeddings.errors import ConfigError
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.movers import TinyInstant

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"

Make = Callable[..., InstructionTransformRetriever]
Call = Callable[..., list[Document]]


@pytest.fixture(params=["invoke", "ainvoke"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a retriever, once through each door."""

    def invoke(retriever: Any, query: Any, **arguments: Any) -> list[Document]:
        if request.param == "invoke":
            return list(retriever.invoke(query, **arguments))
        return list(asyncio.run(retriever.ainvoke(query, **arguments)))

    return invoke


def shown(documents: list[Document]) -> list[tuple[str | None, str]]:
    return [(document.id, document.page_content) for document in documents]


@pytest.mark.parametrize("query", [QUERY, "lost parcel", "how do I change my password"])
@pytest.mark.parametrize("k", [1, 4, 30, 200])
def test_without_an_instruction_it_is_the_search_of_the_host(
    retriever: InstructionTransformRetriever, chroma: Chroma, call: Call, query: str, k: int
) -> None:
    assert shown(call(retriever, query, k=k)) == shown(chroma.similarity_search(query, k))


def test_filters_of_a_generic_call_are_those_of_the_host(
    retriever: InstructionTransformRetriever, chroma: Chroma, call: Call
) -> None:
    where: dict[str, Any] = {"$and": [{"area": "login"}, {"n": {"$gte": 4}}]}
    text = {"$contains": "refund"}
    found = call(retriever, QUERY, k=9, filter=where, where_document=text)
    host = chroma.similarity_search(QUERY, 9, filter=where, where_document=text)
    assert shown(found) == shown(host)
    assert len(found) == 4


@pytest.mark.parametrize("instruction", [None, KIND])
def test_a_query_is_a_text(
    retriever: InstructionTransformRetriever, call: Call, instruction: str | None
) -> None:
    with pytest.raises(ConfigError, match="The query is None, of type NoneType, and a text is"):
        call(retriever, None, instruction=instruction)


def test_a_filter_that_an_explanation_proposes_is_one_of_the_host(chroma: Chroma) -> None:
    retriever = InstructionTransformRetriever(vectorstore=chroma, instant=TinyInstant())
    [reading] = retriever.explain(QUERY, "No printer tickets.", k=5).constraints
    assert reading.proposal is not None
    kept = retriever.invoke(QUERY, k=96, filter=dict(reading.proposal.where))
    assert len(kept) == reading.proposal.passing
    assert "printer" not in {document.metadata["area"] for document in kept}
