"""What a call may ask for, in `invoke` and in `ainvoke`, and what it gets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from instruct_embeddings.errors import ConfigError, InstructionError
from langchain_instruct_embeddings import InstructionTransformRetriever

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"

Make = Callable[..., InstructionTransformRetriever]
Call = Callable[..., list[Document]]


@pytest.fixture(params=["invoke", "ainvoke"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a retriever, once through each door."""

    def invoke(retriever: Any, query: str, **arguments: Any) -> list[Document]:
        if request.param == "invoke":
            return list(retriever.invoke(query, **arguments))
        return list(asyncio.run(retriever.ainvoke(query, **arguments)))

    return invoke


def kinds(documents: list[Document]) -> list[str]:
    return [document.metadata["kind"] for document in documents]


def areas(documents: list[Document]) -> list[str]:
    return [document.metadata["area"] for document in documents]


def shown(documents: list[Document]) -> list[tuple[str | None, str]]:
    return [(document.id, document.page_content) for document in documents]


def test_the_instruction_decides_in_what_respect_documents_are_similar(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    generic = call(retriever, QUERY, k=20)
    adapted = call(retriever, QUERY, k=20, instruction=KIND)
    assert set(areas(generic)) == {"printer"}
    assert kinds(generic).count("refund") == 8
    assert len(set(areas(adapted))) >= 3
    assert kinds(adapted).count("refund") >= 19


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


def test_filters_hold_under_an_instruction(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    found = call(retriever, QUERY, k=8, instruction=KIND, filter={"area": "login"})
    assert areas(found) == ["login"] * 8
    assert kinds(found) == ["refund"] * 8
    money = call(retriever, QUERY, k=8, instruction=KIND, where_document={"$contains": "broken"})
    assert kinds(money) == ["failure"] * 8
    assert call(retriever, QUERY, instruction=KIND, filter={"area": "nowhere"}) == []


def test_arguments_of_a_call_win_over_fields(make_retriever: Make, call: Call) -> None:
    retriever = make_retriever(
        k=3, instruction=KIND, filter={"area": "login"}, where_document={"$contains": "refund"}
    )
    assert areas(call(retriever, QUERY)) == ["login"] * 3
    free = call(retriever, QUERY, k=96, filter=None, where_document=None)
    assert len(free) == 96
    assert len(call(retriever, QUERY, k=96, filter=None)) == 32
    assert len(call(retriever, QUERY, k=96, where_document=None)) == 24


def test_none_asks_for_the_generic_search_although_a_default_is_set(
    make_retriever: Make, chroma: Chroma, call: Call
) -> None:
    retriever = make_retriever(instruction=KIND, k=20)
    assert kinds(call(retriever, QUERY)).count("refund") >= 19
    generic = call(retriever, QUERY, instruction=None)
    assert shown(generic) == shown(chroma.similarity_search(QUERY, 20))


def test_blend_and_prefetch_reach_the_engine(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    adapted = call(retriever, QUERY, k=20, instruction=KIND, prefetch=96)
    generic = call(retriever, QUERY, k=20, instruction=KIND, prefetch=96, blend=0.0)
    assert kinds(adapted).count("refund") == 20
    assert kinds(generic).count("refund") < 12
    with pytest.raises(ConfigError, match="prefetch"):
        call(retriever, QUERY, k=20, instruction=KIND, prefetch=3)
    with pytest.raises(ConfigError, match="blend"):
        call(retriever, QUERY, instruction=KIND, blend=1.5)


def test_exact_mode_ranks_by_all_vectors(make_retriever: Make, call: Call) -> None:
    found = call(make_retriever(exact=True, instruction=KIND), QUERY, k=32)
    assert kinds(found) == ["refund"] * 32


@pytest.mark.parametrize("k", [0, -1])
def test_k_has_to_be_positive(retriever: InstructionTransformRetriever, call: Call, k: int) -> None:
    with pytest.raises(ConfigError, match="k must be"):
        call(retriever, QUERY, k=k)


@pytest.mark.parametrize("instruction", ["", "   ", "why? " * 2000])
def test_an_instruction_is_a_sentence(
    retriever: InstructionTransformRetriever, call: Call, instruction: str
) -> None:
    with pytest.raises(InstructionError):
        call(retriever, QUERY, instruction=instruction)


def test_a_misspelt_argument_is_an_error(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    with pytest.raises(TypeError, match="instructions"):
        call(retriever, QUERY, instructions=KIND)
