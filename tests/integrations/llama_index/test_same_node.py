"""A node that several searches find is one node to LlamaIndex, whatever found it."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.llama_index.conftest import TinyEmbedding
from tests.integrations.tickets import ticket_rows

Make = Callable[..., InstructionTransformRetriever]
KIND = "What kind of request is it?"
AREA = "Which part of the shop is it about?"


def fused(retrievers: list[Any], mode: str) -> list[str]:
    fusion = QueryFusionRetriever(
        retrievers,
        llm=MockLLM(),
        mode=mode,  # type: ignore[arg-type]
        num_queries=1,
        similarity_top_k=96,
        use_async=False,
    )
    return [found.node.node_id for found in fusion.retrieve("broken printer")]


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "simple"])
def test_fusion_over_instructions_and_the_host_brings_a_node_once(
    retriever: InstructionTransformRetriever, index: VectorStoreIndex, mode: str
) -> None:
    several = [
        retriever,
        retriever.with_instruction(KIND),
        index.as_retriever(similarity_top_k=20),
    ]
    ids = fused(several, mode)
    assert len(ids) == len(set(ids)) < 60


def test_where_another_transform_served_is_no_part_of_the_node(make_retriever: Make) -> None:
    reusing = make_retriever(reuse=0.9, store=None, similarity_top_k=20)
    by_kind = reusing.transform_for(KIND)
    library = reusing.engine._library
    # As if AREA had been found to mean the same.
    library.remember(AREA, by_kind, library.collection.info())
    ids = fused([reusing.with_instruction(KIND), reusing.with_instruction(AREA)], "simple")
    assert len(ids) == len(set(ids)) == 20
    assert reusing.transform_for(AREA).instruction == KIND


def test_rows_of_another_framework_have_one_hash_at_every_read(
    collection: Callable[[], Any], embed_model: TinyEmbedding
) -> None:
    rows = list(ticket_rows())[:12]
    foreign = collection()
    foreign.add(
        ids=[row for row, _, _ in rows],
        embeddings=[embed_model.get_text_embedding(text) for _, text, _ in rows],
        documents=[text for _, text, _ in rows],
        metadatas=[metadata | {f"key{i}": i for i in range(8)} for _, _, metadata in rows],
    )
    retriever = InstructionTransformRetriever(
        vector_store=ChromaVectorStore(chroma_collection=foreign),
        embed_model=embed_model,
        similarity_top_k=12,
    )
    hashes = {found.node.hash for _ in range(3) for found in retriever.retrieve("broken printer")}
    assert len(hashes) == 12
    ids = fused([retriever, retriever], "reciprocal_rerank")
    assert len(ids) == len(set(ids)) == 12
