"""Splits of LangChain with the document around them, in a store as usual."""

import asyncio
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import CharacterTextSplitter, RecursiveCharacterTextSplitter

from instruct_embeddings.errors import ConfigError
from langchain_instruct_embeddings import InstructEmbeddings, SituatedEmbeddings
from tests.models import WORDS, tiny_checkpoint

DOCUMENTS = [
    Document(" ".join(WORDS[:15]), metadata={"page": 1}),
    Document(" ".join(WORDS[10:30]), metadata={"page": 2}),
]


def split(**options: Any) -> list[Document]:
    splitter = CharacterTextSplitter(
        separator=" ", chunk_size=30, chunk_overlap=10, add_start_index=True, **options
    )
    return splitter.split_documents(DOCUMENTS)


@pytest.fixture
def embeddings() -> InstructEmbeddings:
    return InstructEmbeddings(model=str(tiny_checkpoint()))


def test_stored_splits_have_the_vectors_of_the_encoder(embeddings: InstructEmbeddings) -> None:
    splits = split()
    situated = SituatedEmbeddings(embeddings, splits, DOCUMENTS, share=0.25)
    store = InMemoryVectorStore.from_documents(splits, situated)
    contexts = [DOCUMENTS[one.metadata["page"] - 1].page_content for one in splits]
    expected = embeddings.encoder.encode_situated(
        [one.page_content for one in splits],
        contexts,
        starts=[one.metadata["start_index"] for one in splits],
        share=0.25,
    )
    found = [entry["vector"] for entry in store.store.values()]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert situated.embed_query("red ball") == embeddings.embed_query("red ball")
    assert asyncio.run(situated.aembed_query("red ball")) == embeddings.embed_query("red ball")
    assert len(store.similarity_search("red ball", k=3)) == 3


def test_splits_of_the_same_words_stand_in_their_own_documents(
    embeddings: InstructEmbeddings,
) -> None:
    documents = [
        Document("red ball. the cube sits", metadata={"page": 1}),
        Document("red ball. the ring sits", metadata={"page": 2}),
    ]
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=14, chunk_overlap=0, separators=[" the"], add_start_index=True
    )
    splits = splitter.split_documents(documents)
    texts = [one.page_content for one in splits]
    assert texts[0] == texts[2]
    situated = SituatedEmbeddings(embeddings, splits, documents, share=1)
    found = np.array(situated.embed_documents(texts))
    again = np.array(situated.embed_documents(texts))
    np.testing.assert_array_equal(found, again)
    assert np.abs(found[0] - found[2]).max() > 1e-3


def test_without_a_start_a_split_is_looked_for(embeddings: InstructEmbeddings) -> None:
    bare = [Document(one.page_content, metadata={"page": one.metadata["page"]}) for one in split()]
    texts = [one.page_content for one in bare]
    known = SituatedEmbeddings(embeddings, split(), DOCUMENTS).embed_documents(texts)
    looked_for = SituatedEmbeddings(embeddings, bare, DOCUMENTS).embed_documents(texts)
    np.testing.assert_allclose(looked_for, known, atol=1e-6)


def test_what_does_not_fit_is_refused(embeddings: InstructEmbeddings) -> None:
    splits = split()
    with pytest.raises(ConfigError, match=r"document_instruction='what' cannot be obeyed"):
        SituatedEmbeddings(
            embeddings.with_instruction(None, document_instruction="what"), splits, DOCUMENTS
        )
    with pytest.raises(ConfigError, match="stands in none of the documents at character"):
        SituatedEmbeddings(embeddings, splits, DOCUMENTS[:1])
    other = Document("somewhere else")
    with pytest.raises(ConfigError, match="'somewhere else' stands in none of the documents"):
        SituatedEmbeddings(embeddings, [other], DOCUMENTS)
    with pytest.raises(
        ConfigError, match=r"'a new text' is none of the \d+ splits that were named"
    ):
        SituatedEmbeddings(embeddings, splits, DOCUMENTS).embed_documents(["a new text"])
