"""Constructor arguments: checked when the retriever is made, with messages that say what to do."""

from collections.abc import Callable

import pytest
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from pydantic import ValidationError

from instruct_embeddings import EncoderJudge, RelevanceFeedback
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
        ("instructions", KIND, "no argument 'instructions'. Did you mean 'instruction'"),
        ("k", 0, "greater than 0"),
        ("blend", 1.01, "less than or equal to 1"),
        ("prefetch", 0, "greater than 0"),
        ("instruction", "", "The instruction is empty"),
        ("guide", "kind", "MetadataGuide"),
        ("vectorstore", None, "instance of VectorStore"),
        ("store", 7, "store"),
        ("fit", {"sample_size": 1}, "sample_size"),
    ],
)
def test_a_wrong_argument_is_an_error(
    make_retriever: Make, field: str, value: object, message: str
) -> None:
    with pytest.raises((ValidationError, TypeError), match=message):
        make_retriever(**{field: value})


@pytest.mark.parametrize("field", ["vectorstore", "guide", "store", "fit", "force", "engine"])
def test_what_the_engine_is_made_of_cannot_be_swapped_later(
    retriever: InstructionTransformRetriever, field: str
) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(retriever, field, getattr(retriever, field))


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


def test_the_encoder_of_the_package_judges_where_nothing_else_is_named(
    make_retriever: Make,
) -> None:
    retriever = make_retriever(feedback=True)
    assert isinstance(retriever.feedback, RelevanceFeedback)
    assert isinstance(retriever.feedback.judge, EncoderJudge)
    assert retriever.engine.feedback is retriever.feedback
    assert make_retriever(feedback=False).feedback is None
