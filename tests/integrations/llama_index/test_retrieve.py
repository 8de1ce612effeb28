"""What a query may ask for, in `retrieve` and in `aretrieve`, and what it gets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from instruct_embeddings.errors import ConfigError, InstructionError
from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"

Make = Callable[..., InstructionTransformRetriever]
Call = Callable[[Any, Any], list[NodeWithScore]]


@pytest.fixture(params=["retrieve", "aretrieve"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a retriever, once through each door."""

    def retrieve(retriever: Any, query: Any) -> list[NodeWithScore]:
        if request.param == "retrieve":
            return list(retriever.retrieve(query))
        return list(asyncio.run(retriever.aretrieve(query)))

    return retrieve


def values(found: list[NodeWithScore], key: str) -> list[str]:
    return [item.node.metadata[key] for item in found]


def ids(found: list[NodeWithScore]) -> list[str]:
    return [item.node.node_id for item in found]


@pytest.mark.parametrize("query", [QUERY, "lost parcel", "how do I change my password"])
@pytest.mark.parametrize("k", [1, 4, 30, 200])
def test_without_an_instruction_it_is_the_search_of_the_host(
    make_retriever: Make, index: VectorStoreIndex, call: Call, query: str, k: int
) -> None:
    host = index.as_retriever(similarity_top_k=k)
    found = call(make_retriever(similarity_top_k=k), query)
    assert ids(found) == ids(host.retrieve(query))


def test_filters_are_those_of_the_host(
    make_retriever: Make, index: VectorStoreIndex, call: Call
) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="area", value="login"),
            MetadataFilter(key="n", value=4, operator=">="),  # type: ignore[arg-type]
        ]
    )
    host = index.as_retriever(similarity_top_k=50, filters=filters)
    retriever = make_retriever(similarity_top_k=50, filters=filters)
    assert ids(call(retriever, QUERY)) == ids(host.retrieve(QUERY))
    adapted = call(retriever.with_instruction(KIND), QUERY)
    assert set(values(adapted, "area")) == {"login"}
    assert values(adapted, "kind")[:4] == ["refund"] * 4
    assert len(adapted) == 12


def test_an_embedding_in_the_query_is_used_as_it_is(
    retriever: InstructionTransformRetriever, embed_model: Any, call: Call
) -> None:
    embedding = embed_model.get_query_embedding("parcel courier")
    found = call(retriever, QueryBundle("never embedded", embedding=embedding))
    assert ids(found) == ids(call(retriever, "parcel courier"))


def test_several_strings_are_averaged_as_the_host_does(
    retriever: InstructionTransformRetriever, index: VectorStoreIndex, call: Call
) -> None:
    query = QueryBundle("shown", custom_embedding_strs=["parcel courier", "refund money"])
    host = index.as_retriever(similarity_top_k=20)
    assert ids(call(retriever, query)) == ids(host.retrieve(query))


def test_an_empty_query_is_an_error(retriever: InstructionTransformRetriever, call: Call) -> None:
    with pytest.raises(ConfigError, match="query is empty"):
        call(retriever, "")


@pytest.mark.parametrize("instruction", ["", "   ", "why? " * 2000])
def test_an_instruction_is_a_sentence(
    retriever: InstructionTransformRetriever, call: Call, instruction: str
) -> None:
    with pytest.raises(InstructionError):
        retriever.with_instruction(instruction)
    with pytest.raises(InstructionError):
        call(retriever, InstructionQueryBundle(QUERY, instruction=instruction))
