"""What an instruction does to a query, told by the retriever."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_chroma import Chroma

from instruct_embeddings import FitEvent
from instruct_embeddings.errors import GuideError, InstructionError
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.movers import TinyInstant

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"

Make = Callable[..., InstructionTransformRetriever]


def test_the_results_are_those_of_the_retriever(
    retriever: InstructionTransformRetriever,
) -> None:
    found = retriever.explain(QUERY, KIND, k=8)
    adapted = retriever.invoke(QUERY, k=8, instruction=KIND)
    assert [hit.id for hit in found.hits[:8]] == [document.id for document in adapted]
    assert [hit.adapted_rank for hit in found.hits[:8]] == list(range(1, 9))
    generic = {hit.generic_rank: hit.id for hit in found.hits}
    host = retriever.invoke(QUERY, k=8, instruction=None)
    assert [generic[rank] for rank in range(1, 9)] == [document.id for document in host]


def test_labels_are_guessed_for_query_results_and_sample(
    retriever: InstructionTransformRetriever,
) -> None:
    found = retriever.explain(QUERY, KIND, k=20)
    assert (found.query, found.instruction, found.query_category) == (QUERY, KIND, "refund")
    assert {category.name: category.count for category in found.categories} == {
        "failure": 32,
        "question": 32,
        "refund": 32,
    }
    assert found.agreeing(adapted=True)[0] >= 19
    assert found.agreeing(adapted=False)[0] == 8
    assert f'"{KIND}"' in str(found)


def test_fields_of_the_retriever_hold(make_retriever: Make) -> None:
    found = make_retriever(instruction=KIND, filter={"area": "login"}, exact=True).explain(QUERY)
    assert found.instruction == KIND
    assert len([hit for hit in found.hits if (hit.adapted_rank or 99) <= 10]) == 10
    assert {(hit.id or "").split("-")[0] for hit in found.hits} == {"login"}
    assert make_retriever(blend=0.0).explain(QUERY, KIND, sample=40).rows == 40


def test_the_map_is_drawn(retriever: InstructionTransformRetriever, tmp_path: Path) -> None:
    file = retriever.explain(QUERY, KIND, sample=20).draw(tmp_path / "map.png")
    assert file.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("instruction", [None, {KIND: 0.5, "Which area is it?": 0.5}])
def test_it_takes_a_single_instruction(make_retriever: Make, instruction: object) -> None:
    with pytest.raises(InstructionError, match="plain sentence"):
        make_retriever(instruction=instruction).explain(QUERY)


def test_it_needs_a_guide_as_any_search(chroma: Chroma) -> None:
    with pytest.raises(GuideError):
        InstructionTransformRetriever(vectorstore=chroma, instant=None).explain(QUERY, KIND)


def test_without_a_guide_the_instant_query_is_explained(chroma: Chroma) -> None:
    retriever = InstructionTransformRetriever(vectorstore=chroma, instant=TinyInstant())
    asked = "No printer tickets."
    found = retriever.explain(QUERY, asked, k=5)
    assert (found.ranked_by, found.report) == ("instant", None)
    documents = retriever.invoke(QUERY, k=5, instruction=asked)
    assert [hit.id for hit in found.hits[:5]] == [document.id for document in documents]
    [reading] = found.constraints
    assert reading.proposal is not None
    where = dict(reading.proposal.where)
    assert where == {"area": {"$ne": "printer"}}
    # The proposal is a filter of this host.
    kept = retriever.invoke(QUERY, k=96, instruction=None, filter=where)
    assert len(kept) == reading.proposal.passing
    assert "printer" not in {document.metadata["area"] for document in kept}


def test_steps_of_a_fit_are_told(make_retriever: Make) -> None:
    told: list[FitEvent] = []
    retriever = make_retriever(store=None, on_fit=told.append)
    retriever.transform_for(KIND)
    assert [one.stage for one in told][:2] == ["sampling", "judging"]
    assert told[-1].stage == "done"
    assert {one.instruction for one in told} == {KIND}
    shared = make_retriever(store=None, engine=retriever.engine, on_fit=retriever.on_fit)
    assert shared.engine is retriever.engine
    assert make_retriever(store=None, engine=retriever.engine, on_fit=print).engine is not (
        retriever.engine
    )
