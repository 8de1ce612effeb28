"""What an instruction does to a query, told by the retriever."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from instruct_embeddings import FitEvent
from instruct_embeddings.errors import ConfigError, GuideError, InstructionError
from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever
from tests.movers import TinyInstant

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"

Make = Callable[..., InstructionTransformRetriever]


def test_the_results_are_those_of_the_retriever(
    retriever: InstructionTransformRetriever,
) -> None:
    found = retriever.explain(QUERY, KIND, k=20)
    nodes = retriever.retrieve(InstructionQueryBundle(QUERY, instruction=KIND))
    assert [hit.id for hit in found.hits[:20]] == [item.node.node_id for item in nodes]
    generic = {hit.generic_rank: hit.id for hit in found.hits}
    host = retriever.retrieve(QUERY)
    assert [generic[rank] for rank in range(1, 21)] == [item.node.node_id for item in host]


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


def test_filters_of_the_retriever_hold(make_retriever: Make) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="area", value="login")])
    found = make_retriever(instruction=KIND, filters=filters, exact=True).explain(QUERY)
    assert {hit.id.split("-")[0] for hit in found.hits} == {"login"}


@pytest.mark.parametrize("instruction", [None, {KIND: 0.5, "Which area is it?": 0.5}])
def test_it_takes_a_single_instruction(make_retriever: Make, instruction: Any) -> None:
    with pytest.raises(InstructionError, match="plain sentence"):
        make_retriever(instruction=instruction).explain(QUERY)


def test_it_needs_a_guide_as_any_search(index: VectorStoreIndex) -> None:
    with pytest.raises(GuideError):
        InstructionTransformRetriever(index, instant=None).explain(QUERY, KIND)


def test_without_a_guide_the_instant_query_is_explained(index: VectorStoreIndex) -> None:
    retriever = InstructionTransformRetriever(index, instant=TinyInstant(), similarity_top_k=5)
    asked = "No printer tickets."
    found = retriever.explain(QUERY, asked, k=5)
    assert (found.ranked_by, found.report) == ("instant", None)
    nodes = retriever.retrieve(InstructionQueryBundle(QUERY, instruction=asked))
    assert [hit.id for hit in found.hits[:5]] == [item.node.node_id for item in nodes]
    [reading] = found.constraints
    assert reading.proposal is not None
    assert reading.proposal.where == {"area": {"$ne": "printer"}}


def test_steps_of_a_fit_are_told(make_retriever: Make) -> None:
    told: list[FitEvent] = []
    make_retriever(store=None, on_fit=told.append).transform_for(KIND)
    assert [one.stage for one in told][:2] == ["sampling", "judging"]
    assert told[-1].stage == "done"


def test_a_shared_engine_has_its_own_callback(
    retriever: InstructionTransformRetriever, index: VectorStoreIndex
) -> None:
    with pytest.raises(ConfigError, match="together with on_fit"):
        InstructionTransformRetriever(index, engine=retriever.engine, on_fit=print)
