"""A document that several searches find is one document to LangChain, whatever its scores."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumpd
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.langchain.conftest import TinyEmbeddings

hosts = pytest.importorskip("langchain_classic.retrievers", reason="not on Python 3.10")

Make = Callable[..., InstructionTransformRetriever]
KIND = "What kind of request is it?"
AREA = "Which part of the shop is it about?"
QUERIES = ["broken printer", "paper tray error", "toner broken error"]


def distinct(documents: list[Document]) -> list[str | None]:
    return list(dict.fromkeys(document.id for document in documents))


@pytest.fixture(params=[None, KIND], ids=["generic", "adapted"])
def asking(make_retriever: Make, request: pytest.FixtureRequest) -> InstructionTransformRetriever:
    """Finds eight documents, plainly and under an instruction."""
    return make_retriever(instruction=request.param, k=8)


def test_several_queries_bring_a_document_once(asking: InstructionTransformRetriever) -> None:
    model = FakeListChatModel(responses=["\n".join(QUERIES)])
    found = hosts.MultiQueryRetriever.from_llm(asking, model).invoke("printer")
    assert len(found) == len(distinct(found)) < 3 * 8


async def test_so_they_do_asynchronously(asking: InstructionTransformRetriever) -> None:
    model = FakeListChatModel(responses=["\n".join(QUERIES)])
    found = await hosts.MultiQueryRetriever.from_llm(asking, model).ainvoke("printer")
    assert len(found) == len(distinct(found)) < 3 * 8


def test_what_the_vector_store_finds_is_the_same_document(
    asking: InstructionTransformRetriever, chroma: Chroma
) -> None:
    stored = {document.id: document for document in chroma.similarity_search("x", k=96)}
    found = asking.invoke("broken printer")
    assert found == [stored[document.id] for document in found]
    assert [type(document) for document in found] == [Document] * 8
    assert [dumpd(d) for d in found] == [dumpd(stored[d.id]) for d in found]


def test_two_instructions_find_the_same_documents(retriever: InstructionTransformRetriever) -> None:
    by_kind = retriever.invoke("broken printer", instruction=KIND, k=40)
    plain = retriever.invoke("broken printer", k=40)
    shared = {document.id for document in by_kind} & {document.id for document in plain}
    assert shared
    one, other = ({d.id: d for d in found} for found in (by_kind, plain))
    assert all(one[row] == other[row] and str(one[row]) == str(other[row]) for row in shared)


def test_an_ensemble_by_a_key_of_the_metadata_and_a_merger_see_stored_metadata(
    retriever: InstructionTransformRetriever, chroma: Chroma
) -> None:
    both = [retriever.bind(instruction=KIND), chroma.as_retriever(search_kwargs={"k": 8})]
    for key in (None, "n"):
        found = hosts.EnsembleRetriever(retrievers=both, weights=[0.5, 0.5], id_key=key).invoke(
            "printer"
        )
        assert all(set(document.metadata) == {"area", "kind", "n"} for document in found)
    merged = hosts.MergerRetriever(retrievers=[retriever, retriever]).invoke("broken printer")
    assert merged[0] == merged[1]


def test_the_indexing_api_knows_documents_again(asking: InstructionTransformRetriever) -> None:
    records = InMemoryRecordManager("tests")
    records.create_schema()
    target = InMemoryVectorStore(TinyEmbeddings())

    def copied(query: str) -> dict[str, int]:
        documents = asking.invoke(query)
        done = index(documents, records, target, cleanup=None, key_encoder="sha256")
        return {"added": done["num_added"], "known": done["num_skipped"]}

    assert copied(QUERIES[0]) == {"added": 8, "known": 0}
    again = {d.id for d in asking.invoke(QUERIES[0])} & {d.id for d in asking.invoke(QUERIES[1])}
    assert copied(QUERIES[1]) == {"added": 8 - len(again), "known": len(again)}
    assert again


def test_scores_stand_beside_the_documents(asking: InstructionTransformRetriever) -> None:
    documents = asking.invoke("broken printer")
    pairs = asking.invoke_with_scores("broken printer")
    assert [document for document, _ in pairs] == documents
    scores = [score for _, score in pairs]
    assert {type(score) for score in scores} == {float}
    assert scores == sorted(scores, reverse=True)
    assert -1 <= scores[-1] < scores[0] <= 1
    shown = asking.model_copy(update={"score_key": "similarity"}).invoke("broken printer")
    assert [document.metadata["similarity"] for document in shown] == scores


async def test_scores_take_the_arguments_of_a_call(asking: InstructionTransformRetriever) -> None:
    arguments: dict[str, Any] = {"k": 3, "filter": {"area": "billing"}, "instruction": KIND}
    wanted = asking.invoke_with_scores("broken printer", **arguments)
    assert [document.metadata["area"] for document, _ in wanted] == ["billing"] * 3
    assert await asking.ainvoke_with_scores("broken printer", **arguments) == wanted
    with pytest.raises(TypeError, match="has no argument"):
        asking.invoke_with_scores("broken printer", instructions=KIND)


def test_a_row_without_a_text_leaves_scores_at_their_documents(
    open_chroma: Callable[..., Chroma],
) -> None:
    store = open_chroma()
    near, far = TinyEmbeddings().embed_documents(["paper jam", "paper card"])
    store._collection.add(ids=["bare"], embeddings=[near])
    store._collection.add(ids=["text"], embeddings=[far], documents=["paper card"])
    [(document, score)] = InstructionTransformRetriever(vectorstore=store).invoke_with_scores(
        "paper card"
    )
    assert (document.id, score) == ("text", pytest.approx(1, abs=1e-5))


def test_where_another_transform_served_is_no_part_of_the_document(
    make_retriever: Make, chroma: Chroma
) -> None:
    reusing = make_retriever(reuse=0.9, store=None)
    assert reusing.engine.reuse is not None
    by_kind = reusing.transform_for(KIND)
    # As if AREA had been found to mean the same.
    library = reusing.engine._library
    library.remember(AREA, by_kind, library.collection.info())
    own, borrowed = (reusing.invoke("printer", instruction=text) for text in (KIND, AREA))
    assert own == borrowed
    assert reusing.transform_for(AREA).instruction == KIND
    noted = reusing.model_copy(update={"score_key": "score"}).invoke("printer", instruction=AREA)
    assert noted[0].metadata["reused_instruction"] == KIND


def test_scores_are_traced_as_any_call(retriever: InstructionTransformRetriever) -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    class Handler(BaseCallbackHandler):
        ended = 0

        def on_retriever_end(self, *args: Any, **kwargs: Any) -> None:
            Handler.ended += 1

    retriever.invoke_with_scores("printer", {"callbacks": [Handler()]})
    assert Handler.ended == 1
