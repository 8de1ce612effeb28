"""What a query may ask for, in `retrieve` and in `aretrieve`, and what it gets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from instruct_embeddings.errors import ConfigError, GuideError, InstructionError
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


def test_the_instruction_decides_in_what_respect_nodes_are_similar(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    generic = call(retriever, QUERY)
    adapted = call(retriever.with_instruction(KIND), QUERY)
    assert set(values(generic, "area")) == {"printer"}
    assert values(generic, "kind").count("refund") == 8
    assert len(set(values(adapted, "area"))) >= 3
    assert values(adapted, "kind").count("refund") >= 19


@pytest.mark.parametrize("query", [QUERY, "lost parcel", "how do I change my password"])
@pytest.mark.parametrize("k", [1, 4, 30, 200])
def test_without_an_instruction_it_is_the_search_of_the_host(
    make_retriever: Make, index: VectorStoreIndex, call: Call, query: str, k: int
) -> None:
    host = index.as_retriever(similarity_top_k=k)
    found = call(make_retriever(similarity_top_k=k), query)
    assert ids(found) == ids(host.retrieve(query))


def test_a_query_can_carry_its_own_instruction(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    found = call(retriever, InstructionQueryBundle(QUERY, instruction=KIND))
    assert values(found, "kind").count("refund") >= 19
    assert set(values(call(retriever, QueryBundle(QUERY)), "area")) == {"printer"}


def test_the_instruction_of_a_query_wins_and_none_is_generic(
    retriever: InstructionTransformRetriever, call: Call
) -> None:
    adapted = retriever.with_instruction(KIND)
    assert values(call(adapted, QUERY), "kind").count("refund") >= 19
    generic = call(adapted, InstructionQueryBundle(QUERY, instruction=None))
    assert ids(generic) == ids(call(retriever, QUERY))


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


def test_a_filter_that_matches_nothing_gives_nothing(make_retriever: Make, call: Call) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="area", value="nowhere")])
    assert call(make_retriever(filters=filters, instruction=KIND), QUERY) == []


def test_the_filter_on_texts(make_retriever: Make, call: Call) -> None:
    retriever = make_retriever(
        similarity_top_k=40, instruction=KIND, where_document={"$contains": "broken"}
    )
    assert values(call(retriever, QUERY), "kind") == ["failure"] * 32


def test_blend_prefetch_and_exact_reach_the_engine(make_retriever: Make, call: Call) -> None:
    every = {"similarity_top_k": 20, "instruction": KIND, "prefetch": 96}
    assert values(call(make_retriever(**every), QUERY), "kind") == ["refund"] * 20
    generic = call(make_retriever(**every, blend=0.0), QUERY)
    assert values(generic, "kind").count("refund") < 12
    exact = make_retriever(similarity_top_k=32, instruction=KIND, exact=True)
    assert values(call(exact, QUERY), "kind") == ["refund"] * 32


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity_top_k": 0}, "k must be"),
        ({"blend": 2.0}, "blend"),
        ({"prefetch": 1}, "prefetch"),
    ],
)
def test_numbers_out_of_range_are_errors(
    make_retriever: Make, call: Call, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        call(make_retriever(instruction=KIND, **arguments), QUERY)


def test_an_instruction_without_a_guide_is_an_error_that_says_so(
    make_retriever: Make, call: Call
) -> None:
    with pytest.raises(GuideError, match="guide"):
        call(make_retriever(guide=None, store=None, instruction=KIND), QUERY)
