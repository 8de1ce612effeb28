"""A query that carries its filters, its number of nodes and the rest."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
KIND = "What kind of request is it?"
QUERY = "broken printer"


def only(area: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key="area", value=area)])


def areas(nodes: list[NodeWithScore]) -> set[str]:
    return {found.node.metadata["area"] for found in nodes}


def asked(**arguments: Any) -> InstructionQueryBundle:
    return InstructionQueryBundle(QUERY, **arguments)


async def test_each_call_has_filters_and_a_number_of_its_own(make_retriever: Make) -> None:
    retriever = make_retriever(instruction=KIND)
    for area, count in (("billing", 3), ("login", 7)):
        bundle = asked(filters=only(area), similarity_top_k=count)
        nodes = retriever.retrieve(bundle)
        assert (areas(nodes), len(nodes)) == ({area}, count)
        assert [n.node_id for n in await retriever.aretrieve(bundle)] == [n.node_id for n in nodes]


def test_a_query_engine_passes_them_on(make_retriever: Make) -> None:
    engine = RetrieverQueryEngine.from_args(make_retriever(), llm=MockLLM())
    answer = engine.query(asked(instruction=KIND, filters=only("billing"), similarity_top_k=2))
    assert len(answer.source_nodes) == 2
    assert areas(answer.source_nodes) == {"billing"}


def test_the_instruction_is_that_of_the_call_of_the_query_or_of_the_retriever(
    retriever: InstructionTransformRetriever,
) -> None:
    other = "Which kind?"
    bundle = InstructionQueryBundle(QUERY, instruction=KIND)
    assert retriever.explain(bundle).instruction == KIND
    assert retriever.explain(bundle, other).instruction == other
    assert retriever.with_instruction(KIND).explain(QUERY).instruction == KIND


def test_a_query_with_an_embedding_is_not_embedded_again(
    retriever: InstructionTransformRetriever, embed_model: Any
) -> None:
    vector = embed_model.get_query_embedding("lost parcel")
    found = retriever.explain(QueryBundle(QUERY, embedding=vector), KIND, k=4)
    direct = retriever.explain("lost parcel", KIND, k=4)
    assert [hit.id for hit in found.hits] == [hit.id for hit in direct.hits]
    assert found.query == QUERY


async def test_retrieve_takes_the_arguments_of_a_bundle(
    retriever: InstructionTransformRetriever,
) -> None:
    bundle = InstructionQueryBundle("red", instruction=None, similarity_top_k=2)
    expected = [node.node_id for node in retriever.retrieve(bundle)]
    assert len(expected) == 2
    found = retriever.retrieve("red", instruction=None, similarity_top_k=2)
    assert [node.node_id for node in found] == expected
    more = retriever.retrieve(bundle, similarity_top_k=3)
    assert [node.node_id for node in more][:2] == expected
    again = await retriever.aretrieve("red", instruction=None, similarity_top_k=2)
    assert [node.node_id for node in again] == expected
    with pytest.raises(TypeError, match=r"'instuction'. Did you mean 'instruction'\?"):
        retriever.retrieve("red", instuction="x")
