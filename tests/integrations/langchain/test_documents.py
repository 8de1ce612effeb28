"""Documents that come back: id, text, metadata, score."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from langchain_instruct_embeddings import InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
KIND = "What kind of request is it?"
NODE = '{"id_": "x", "metadata": {}, "text": "", "class_name": "TextNode"}'


@pytest.fixture
def small(open_chroma: Callable[..., Chroma]) -> Chroma:
    """A collection of its own."""
    return open_chroma()


def first(store: Chroma, **fields: Any) -> Document:
    return InstructionTransformRetriever(vectorstore=store, **fields).invoke("paper jam")[0]


def test_the_score_is_the_cosine_similarity(small: Chroma) -> None:
    small.add_documents([Document(id="a", page_content="paper jam", metadata={"n": 1})])
    document = first(small, score_key="score")
    assert (document.id, document.page_content) == ("a", "paper jam")
    assert document.metadata == {"n": 1, "score": pytest.approx(1.0, abs=1e-5)}
    assert type(document.metadata["score"]) is float


def test_the_score_has_a_name_of_your_choice_or_none(small: Chroma) -> None:
    small.add_documents([Document(id="a", page_content="paper jam", metadata={"n": 1})])
    assert set(first(small, score_key="similarity").metadata) == {"n", "similarity"}
    assert first(small).metadata == {"n": 1}


def test_a_stored_value_under_the_score_key_is_not_replaced_in_silence(small: Chroma) -> None:
    small.add_documents([Document(id="a", page_content="paper jam", metadata={"score": 5})])
    with pytest.warns(UserWarning, match="already has the key 'score'") as found:
        assert first(small, score_key="score").metadata["score"] == pytest.approx(1.0, abs=1e-5)
    assert found[0].filename == __file__
    assert first(small).metadata == {"score": 5}


def test_keys_that_llama_index_stores_for_itself_are_left_out(small: Chroma) -> None:
    metadata = {"_node_content": NODE, "_node_type": "TextNode", "doc_id": "d", "n": 1}
    small.add_documents([Document(id="a", page_content="paper jam", metadata=metadata)])
    assert first(small).metadata == {"doc_id": "d", "n": 1}


def test_documents_without_metadata_or_text_are_as_the_host_shows_them(small: Chroma) -> None:
    assert small.embeddings is not None
    vector = small.embeddings.embed_query("paper jam")
    small._collection.add(ids=["bare"], embeddings=vector)
    small._collection.add(ids=["text"], embeddings=vector, documents=["toner"])
    retriever = InstructionTransformRetriever(vectorstore=small)
    assert retriever.invoke("paper jam") == small.similarity_search("paper jam")
    assert [document.id for document in retriever.invoke("paper jam")] == ["text"]
