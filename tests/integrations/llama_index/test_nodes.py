"""Nodes that come back: as LlamaIndex stored them, or made of the rows of another framework."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import IndexNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from instruct_embeddings import MetadataGuide
from instruct_embeddings.testing import TinyEncoder
from langchain_instruct_embeddings import InstructionTransformRetriever as LangChainRetriever
from llama_index_instruct_embeddings import InstructionTransformRetriever

KIND = "What kind of request is it?"


class TinyEmbeddings(Embeddings):
    """The same vectors, for LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = TinyEncoder().encode(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def langchain_store(client: Any, name: str) -> Chroma:
    return Chroma(
        client=client,
        collection_name=name,
        embedding_function=TinyEmbeddings(),
        collection_configuration={"hnsw": {"space": "cosine"}},
    )


def test_a_node_comes_back_whole(make_index: Callable[..., VectorStoreIndex]) -> None:
    node = TextNode(
        id_="a",
        text="paper jam",
        metadata={"n": 1, "title": "T"},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document")},
        excluded_embed_metadata_keys=["n", "title"],
        start_char_idx=3,
        end_char_idx=12,
    )
    [found] = InstructionTransformRetriever(make_index([node])).retrieve("paper jam")
    assert found.score == pytest.approx(1.0, abs=1e-5)
    assert type(found.score) is float
    assert isinstance(found.node, TextNode)
    kept = {"embedding"}
    assert found.node.model_dump(exclude=kept) == node.model_dump(exclude=kept)


def test_an_index_node_leads_to_its_object_as_in_the_host(
    make_index: Callable[..., VectorStoreIndex],
) -> None:
    chapter = TextNode(id_="chapter", text="the whole chapter")
    nodes = [
        IndexNode(id_="pointer", text="paper jam", index_id="chapter", obj=chapter),
        TextNode(id_="plain", text="lost parcel"),
    ]
    index = make_index([], objects=nodes[:1])
    index.insert_nodes(nodes[1:])
    host = index.as_retriever().retrieve("paper jam")
    ours = InstructionTransformRetriever(index).retrieve("paper jam")
    assert [x.node.node_id for x in ours] == [x.node.node_id for x in host]
    assert ours[0].node.get_content() == "the whole chapter"


def test_a_collection_made_by_langchain_is_read(client: Any, embed_model: Any) -> None:
    store = langchain_store(client, "made-by-langchain")
    store.add_documents(
        [
            Document(id="with", page_content="paper jam", metadata={"area": "printer"}),
            Document(id="without", page_content="lost parcel"),
        ]
    )
    vector_store = ChromaVectorStore(chroma_collection=client.get_collection("made-by-langchain"))
    retriever = InstructionTransformRetriever(vector_store=vector_store, embed_model=embed_model)
    found = [item.node for item in retriever.retrieve("paper jam")]
    assert [(node.node_id, node.get_content(), node.metadata) for node in found] == [
        ("with", "paper jam", {"area": "printer"}),
        ("without", "lost parcel", {}),
    ]


def test_a_collection_made_by_llama_index_is_read_by_langchain(
    index: VectorStoreIndex, client: Any, known: Any
) -> None:
    name = index.vector_store.client.name
    retriever = LangChainRetriever(
        vectorstore=langchain_store(client, name), guide=MetadataGuide("kind"), store=known, k=8
    )
    found = retriever.invoke("printer refund", instruction=KIND)
    assert {document.metadata["kind"] for document in found} == {"refund"}
    reserved = {"_node_content", "_node_type"}
    assert not any(reserved & set(document.metadata) for document in found)
    assert found[0].id is not None
    assert found[0].id.split("-")[1] == "refund"


def test_one_engine_serves_both_hosts(
    retriever: InstructionTransformRetriever, index: VectorStoreIndex, client: Any
) -> None:
    by_kind = retriever.with_instruction(KIND).retrieve("printer refund")
    other = LangChainRetriever(
        vectorstore=langchain_store(client, index.vector_store.client.name),
        engine=retriever.engine,
        instruction=KIND,
        k=20,
    )
    assert other.engine is retriever.engine
    documents = other.invoke("printer refund")
    assert [document.id for document in documents] == [item.node.node_id for item in by_kind]


@pytest.mark.parametrize("content", ["not json", '{"metadata": 7}'])
def test_a_row_that_only_looks_like_a_node_is_a_text(
    collection: Callable[[], Any], embed_model: Any, content: str
) -> None:
    rows = collection()
    rows.add(
        ids=["a"],
        embeddings=[embed_model.get_text_embedding("paper jam")],
        documents=["paper jam"],
        metadatas=[{"_node_content": content, "n": 1}],
    )
    store = ChromaVectorStore(chroma_collection=rows)
    retriever = InstructionTransformRetriever(vector_store=store, embed_model=embed_model)
    [found] = retriever.retrieve("paper jam")
    assert (found.node.node_id, found.node.get_content()) == ("a", "paper jam")
    assert found.node.metadata["n"] == 1
