"""Constructor arguments: checked when the retriever is made, with messages that say what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from pydantic import ValidationError

from instruct_embeddings import FitConfig, TransformStore
from instruct_embeddings.errors import GuideError, InstructionError
from langchain_instruct_embeddings import InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
KIND = "What kind of request is it?"


def test_a_vector_store_without_embeddings_is_refused(
    open_chroma: Callable[..., Chroma],
) -> None:
    bare = Chroma(client=open_chroma()._client, collection_name="bare")
    with pytest.raises(ValidationError, match="embedding_function=model"):
        InstructionTransformRetriever(vectorstore=bare)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("instructions", KIND, "Extra inputs are not permitted"),
        ("k", 0, "greater than 0"),
        ("blend", 1.01, "less than or equal to 1"),
        ("prefetch", 0, "greater than 0"),
        ("instruction", "", "The instruction is empty"),
        ("guide", "kind", "MetadataGuide"),
        ("vectorstore", None, "instance of Chroma"),
        ("store", 7, "store"),
        ("fit", {"sample_size": 1}, "sample_size"),
    ],
)
def test_a_wrong_argument_is_an_error(
    make_retriever: Make, field: str, value: object, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make_retriever(**{field: value})


@pytest.mark.parametrize("field", ["vectorstore", "guide", "store", "fit", "force", "engine"])
def test_what_the_engine_is_made_of_cannot_be_swapped_later(
    retriever: InstructionTransformRetriever, field: str
) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(retriever, field, getattr(retriever, field))


def test_settings_of_a_fit_reach_the_engine(make_retriever: Make, tmp_path: Path) -> None:
    retriever = make_retriever(fit=FitConfig(sample_size=50), force=True, store=tmp_path / "kept")
    assert retriever.engine.fit_config == FitConfig(sample_size=50)
    assert retriever.engine.force
    assert isinstance(retriever.store, TransformStore)
    assert retriever.engine.store is retriever.store


def test_an_instruction_without_a_guide_is_an_error_that_says_so(make_retriever: Make) -> None:
    retriever = make_retriever(guide=None, store=None)
    assert len(retriever.invoke("paper jam")) == 4
    with pytest.raises(GuideError, match="guide"):
        retriever.invoke("paper jam", instruction=KIND)


def test_a_report_can_be_had_before_the_first_query(
    cold: InstructionTransformRetriever, guide: Any
) -> None:
    report = cold.report(KIND)
    assert report.label_counts == {"refund": 32, "question": 32, "failure": 32}
    assert report.adapted > report.generic
    assert cold.transform_for(KIND).report == report
    assert guide.asked == [KIND]


def test_a_report_needs_an_instruction(make_retriever: Make) -> None:
    with pytest.raises(InstructionError, match="a plain sentence, got None"):
        make_retriever().report()
    assert make_retriever(instruction=KIND).transform_for().instruction == KIND


def test_tags_name_the_vector_store_and_the_embeddings(make_retriever: Make) -> None:
    assert make_retriever().tags == ["Chroma", "TinyEmbeddings"]
    assert make_retriever(tags=["mine"]).tags == ["mine"]


def test_embeddings_of_another_dimension_are_refused(open_chroma: Callable[..., Chroma]) -> None:
    class Short(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, 0.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0]

    store = open_chroma(name="two-models")
    store.add_texts(["a text"])
    retriever = InstructionTransformRetriever(vectorstore=open_chroma(Short(), name="two-models"))
    with pytest.raises(ValueError, match="dimension"):
        retriever.invoke("a query")
