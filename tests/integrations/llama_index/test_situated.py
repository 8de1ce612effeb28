"""Nodes of LlamaIndex with the document around them, in an index as usual."""

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import TextNode

from instruct_embeddings.errors import ConfigError, TextError
from llama_index_instruct_embeddings import InstructEmbedding, SituatedEmbedding
from tests.models import WORDS, tiny_checkpoint

DOCUMENTS = [
    Document(text=" ".join(WORDS[:15]), metadata={"page": 1}),
    Document(text=" ".join(WORDS[10:30]), metadata={"page": 2}),
]


@pytest.fixture
def model() -> InstructEmbedding:
    return InstructEmbedding(model_name=str(tiny_checkpoint()))


def test_an_index_keeps_the_vectors_of_the_encoder(model: InstructEmbedding) -> None:
    splitter = TokenTextSplitter(chunk_size=12, chunk_overlap=2, tokenizer=str.split)
    nodes = splitter(DOCUMENTS)
    assert len(nodes) > 2
    nodes = SituatedEmbedding(embed_model=model, documents=DOCUMENTS, share=0.25)(nodes)
    sources = {one.node_id: one.text for one in DOCUMENTS}
    expected = model.encoder.encode_situated(
        [node.text for node in nodes], [sources[node.ref_doc_id] for node in nodes], share=0.25
    )
    index = VectorStoreIndex(nodes, embed_model=model)
    stored = index.vector_store.data.embedding_dict
    found = [stored[node.node_id] for node in nodes]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(index.as_retriever(similarity_top_k=2).retrieve("red ball")) == 2


def test_what_does_not_fit_is_refused(model: InstructEmbedding) -> None:
    nodes = TokenTextSplitter(chunk_size=12, chunk_overlap=2, tokenizer=str.split)(DOCUMENTS)
    other = model.with_instruction(None, document_instruction="what")
    with pytest.raises(ConfigError, match="document_instruction='what' cannot be obeyed"):
        SituatedEmbedding(embed_model=other, documents=DOCUMENTS)(nodes)
    with pytest.raises(ConfigError, match="which is none of the 1 documents given"):
        SituatedEmbedding(embed_model=model, documents=DOCUMENTS[:1])(nodes)
    with pytest.raises(ConfigError, match="has the source None, which is none of the 2"):
        SituatedEmbedding(embed_model=model, documents=DOCUMENTS)([TextNode(text="red")])
    nodes[0].text = "something else"
    with pytest.raises(TextError, match="Chunk 0, 'something else', does not stand"):
        SituatedEmbedding(embed_model=model, documents=DOCUMENTS)(nodes)
