"""What an instruction does to a query, told by the retriever."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_chroma import Chroma

from instruct_embeddings.errors import GuideError, InstructionError
from langchain_instruct_embeddings import InstructionTransformRetriever

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
        InstructionTransformRetriever(vectorstore=chroma).explain(QUERY, KIND)
