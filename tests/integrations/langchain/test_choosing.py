"""A least score and results that differ, as LangChain's vector stores offer them."""

from collections.abc import Callable

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from langchain_instruct_embeddings import InstructionTransformRetriever

KIND = "What kind of request is it?"
QUERY = "paper jam tray"


@pytest.fixture(scope="module")
def copied(open_chroma: Callable[..., Chroma]) -> Chroma:
    """Six copies of one text beside others."""
    store = open_chroma()
    texts = [QUERY] * 6 + [
        "paper jam toner",
        "paper card",
        "tray account",
        "jam session",
        "invoice",
    ]
    store.add_documents([Document(id=f"{i}", page_content=text) for i, text in enumerate(texts)])
    return store


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


async def test_copies_do_not_fill_the_results(copied: Chroma) -> None:
    plain = InstructionTransformRetriever(vectorstore=copied, k=5)
    assert texts(plain.invoke(QUERY)) == [QUERY] * 5
    spread = texts(plain.invoke(QUERY, lambda_mult=0.5))
    assert spread[0] == QUERY
    assert len(set(spread)) == 5
    assert texts(await plain.ainvoke(QUERY, lambda_mult=0.5)) == spread
    always = InstructionTransformRetriever(vectorstore=copied, k=5, lambda_mult=0.5)
    assert texts(always.invoke(QUERY)) == spread
    assert texts(always.invoke(QUERY, lambda_mult=None)) == [QUERY] * 5
    assert texts(always.invoke(QUERY, fetch_k=6)) == [QUERY] * 5
    assert texts(always.bind(k=2).invoke(QUERY)) == spread[:2]


def test_only_what_is_near_enough(copied: Chroma) -> None:
    retriever = InstructionTransformRetriever(vectorstore=copied, k=11, score_threshold=0.9)
    assert texts(retriever.invoke(QUERY)) == [QUERY] * 6
    pairs = retriever.invoke_with_scores(QUERY, score_threshold=None)
    assert len(pairs) == 11
    assert retriever.invoke("nothing of that kind", score_threshold=1.0) == []


def test_under_an_instruction(retriever: InstructionTransformRetriever) -> None:
    pairs = retriever.invoke_with_scores("broken printer", instruction=KIND, k=40)
    middle = pairs[20][1]
    kept = retriever.invoke_with_scores(
        "broken printer", instruction=KIND, k=40, score_threshold=middle
    )
    assert kept == [pair for pair in pairs if pair[1] >= middle]
    spread = retriever.invoke("broken printer", instruction=KIND, k=5, lambda_mult=0.3, prefetch=9)
    assert {document.id for document in spread} <= {document.id for document, _ in pairs[:9]}
    assert len(spread) == 5


@pytest.mark.parametrize("field", [{"score_threshold": 2}, {"lambda_mult": -1}, {"fetch_k": 0}])
def test_what_is_out_of_range_is_refused(
    retriever: InstructionTransformRetriever, copied: Chroma, field: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        InstructionTransformRetriever(vectorstore=copied, **field)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=next(iter(field))):
        retriever.invoke("printer", **field)
