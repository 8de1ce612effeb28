"""Stores of Milvus and Qdrant of both hosts, searched through their retrievers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_milvus import Milvus
from langchain_qdrant import QdrantVectorStore
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.milvus import MilvusVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexQdrant
from pymilvus import connections
from qdrant_client import QdrantClient, models

import langchain_instruct_embeddings as langchain
import llama_index_instruct_embeddings as llama_index
from instruct_embeddings import TransformStore
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.llama_index.conftest import TinyEmbedding
from tests.integrations.tickets import KIND, CountingGuide, ticket_rows

# Of what the hosts' own stores do, not ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:.* is an ORM-style PyMilvus API"),
]
DIMENSION = len(TinyEmbeddings().embed_query("text"))
QUERY = "printer broken"


@dataclass(frozen=True)
class Stores:
    """What both hosts keep in one engine.

    `native` are filters of the engine that let refunds pass, in LangChain and in LlamaIndex.
    """

    langchain: VectorStore
    llama_index: Any
    native: tuple[Any, Any]


def of_id(row: str) -> str:
    """Qdrant takes numbers and UUIDs."""
    return str(uuid5(NAMESPACE_DNS, row))


def nodes() -> list[TextNode]:
    """With their vectors, and each with the next one as its neighbour."""
    model, made = TinyEmbedding(), []
    for row, text, metadata in ticket_rows():
        node = TextNode(
            id_=of_id(row),
            text=text,
            metadata=metadata,
            embedding=model.get_text_embedding(text),
            excluded_embed_metadata_keys=list(metadata),
        )
        made.append(node)
    for node, after in pairwise(made):
        node.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=after.node_id)
    return made


def filled(store: Any) -> Any:
    ids, texts, metadatas = zip(*ticket_rows(), strict=True)
    store.add_texts(list(texts), metadatas=[dict(one) for one in metadatas], ids=[*map(of_id, ids)])
    return store


def of_qdrant() -> Iterator[Stores]:
    client = QdrantClient(":memory:")
    size = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("tickets", vectors_config=size)
    theirs = LlamaIndexQdrant("nodes", client=client)
    theirs.add(nodes())

    def refund(key: str) -> models.Filter:
        matches = models.MatchValue(value="refund")
        return models.Filter(must=[models.FieldCondition(key=key, match=matches)])

    own = filled(QdrantVectorStore(client, "tickets", TinyEmbeddings()))
    yield Stores(own, theirs, (refund("metadata.kind"), refund("kind")))
    client.close()


def of_milvus(folder: Path) -> Iterator[Stores]:
    address = str(folder / "lite.db")
    own = Milvus(
        TinyEmbeddings(),
        collection_name="tickets",
        connection_args={"uri": address},
        index_params={"index_type": "FLAT", "metric_type": "COSINE"},
        consistency_level="Strong",
        enable_dynamic_field=True,
    )
    # Of releases of today, neither makes the connection that the other takes for granted.
    connections.connect(alias=own.alias, uri=address)
    filled(own)
    theirs = MilvusVectorStore(
        address,
        collection_name="nodes",
        dim=DIMENSION,
        similarity_metric="COSINE",
        upsert_mode=True,
        use_async_client=False,
    )
    theirs.add(nodes())
    yield Stores(own, theirs, ("kind == 'refund'", "kind == 'refund'"))
    theirs.client.close()


@pytest.fixture(scope="module", params=["qdrant", "milvus"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    if request.param == "qdrant":
        yield from of_qdrant()
    else:
        yield from of_milvus(tmp_path_factory.mktemp("milvus"))


def of_langchain(stores: Stores, **options: Any) -> langchain.InstructionTransformRetriever:
    options = {"instant": None} | options
    return langchain.InstructionTransformRetriever(vectorstore=stores.langchain, **options)


def of_llama_index(stores: Stores, **options: Any) -> llama_index.InstructionTransformRetriever:
    return llama_index.InstructionTransformRetriever(
        vector_store=stores.llama_index, embed_model=TinyEmbedding(), instant=None, **options
    )


def test_documents_are_those_of_the_store_itself(stores: Stores) -> None:
    found = of_langchain(stores, k=5).invoke(QUERY)
    theirs = stores.langchain.similarity_search(QUERY, k=5)
    assert [one.page_content for one in found] == [one.page_content for one in theirs]
    # Stores put an id of theirs into the metadata.
    own = [{k: v for k, v in one.metadata.items() if k in found[0].metadata} for one in theirs]
    assert [one.metadata for one in found] == own
    assert found[0].metadata.keys() >= {"area", "kind", "n"}


def test_nodes_are_those_of_the_store_itself(stores: Stores) -> None:
    found = of_llama_index(stores, similarity_top_k=5).retrieve(QUERY)
    vector = TinyEmbedding().get_query_embedding(QUERY)
    theirs = stores.llama_index.query(
        VectorStoreQuery(query_embedding=vector, similarity_top_k=5)
    ).nodes
    assert [one.node.node_id for one in found] == [one.node_id for one in theirs]
    assert [one.node.get_content() for one in found] == [one.get_content() for one in theirs]
    assert [one.node.metadata for one in found] == [one.metadata for one in theirs]
    assert [one.node.relationships for one in found] == [one.relationships for one in theirs]
    assert found[0].node.relationships


@pytest.mark.parametrize("path", ["adapter", "public", "public, rescored"])
def test_an_instruction_is_learned_and_ranks_documents(stores: Stores, path: str) -> None:
    guide = CountingGuide()
    collection = None
    if path != "adapter":
        collection = langchain.StoreVectors(stores.langchain, rescore="rescored" in path)
    retriever = of_langchain(stores, guide=guide, k=8, force=True, collection=collection)
    found = retriever.invoke(QUERY, instruction=KIND)
    assert [one.metadata["kind"] for one in found] == ["failure"] * 8
    assert len(guide.asked) == 1


def test_an_instruction_is_learned_and_ranks_nodes(stores: Stores) -> None:
    guide = CountingGuide()
    retriever = of_llama_index(stores, guide=guide, similarity_top_k=8, force=True)
    found = retriever.with_instruction(KIND).retrieve(QUERY)
    assert [one.node.metadata["kind"] for one in found] == ["failure"] * 8


def test_retrievers_of_one_store_share_an_engine(stores: Stores) -> None:
    first = of_langchain(stores, guide=CountingGuide())
    second = of_langchain(stores, engine=first.engine, k=2)
    assert second.engine is first.engine
    other = of_llama_index(stores, guide=CountingGuide())
    assert of_llama_index(stores, engine=other.engine).engine is other.engine


def test_learned_transforms_are_found_again(stores: Stores, tmp_path: Path) -> None:
    guide = CountingGuide()
    store = TransformStore(tmp_path)
    for _ in range(2):
        retriever = of_langchain(stores, guide=guide, store=store, force=True)
        retriever.invoke(QUERY, instruction=KIND)
    assert len(guide.asked) == 1


@pytest.mark.parametrize("kind", ["one language", "native", "native in a mapping"])
def test_filters_of_documents(stores: Stores, kind: str) -> None:
    native = stores.native[0]
    where: Any = {"kind": "refund"}
    if kind != "one language":
        where = native if kind == "native" else {"$and": [{"$native": native}, {"n": {"$lt": 4}}]}
    found = of_langchain(stores, k=50).invoke(QUERY, filter=where)
    assert {one.metadata["kind"] for one in found} == {"refund"}
    assert len(found) == (16 if kind == "native in a mapping" else 32)


def test_filters_of_nodes(stores: Stores) -> None:
    theirs = MetadataFilters(filters=[MetadataFilter(key="kind", value="refund")])
    for filters in (theirs, {"$native": stores.native[1]}):
        retriever = of_llama_index(stores, similarity_top_k=50, filters=filters)
        found = retriever.retrieve(QUERY)
        assert {one.node.metadata["kind"] for one in found} == {"refund"}
        assert len(found) == 32


def test_public_methods_take_filters_of_the_store(stores: Stores) -> None:
    collection = langchain.StoreVectors(stores.langchain)
    retriever = of_langchain(stores, k=50, collection=collection)
    found = retriever.invoke(QUERY, filter=stores.native[0])
    assert {one.metadata["kind"] for one in found} == {"refund"}
    assert len(found) == 32
