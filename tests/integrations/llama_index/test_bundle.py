"""A query that carries its filters, its number of nodes and the rest."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from instruct_embeddings.errors import ConfigError
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


def test_what_is_left_out_is_as_in_the_retriever_and_none_lifts(make_retriever: Make) -> None:
    retriever = make_retriever(instruction=KIND, filters=only("login"), similarity_top_k=6)
    own = retriever.retrieve(QUERY)
    assert [n.node_id for n in retriever.retrieve(asked())] == [n.node_id for n in own]
    assert areas(own) == {"login"}
    assert areas(retriever.retrieve(asked(filters=None))) != {"login"}
    plain = make_retriever(filters=only("login"), similarity_top_k=6).retrieve(QUERY)
    scores = [found.score for found in retriever.retrieve(asked(instruction=None))]
    assert scores == [found.score for found in plain]


def test_the_other_arguments(make_retriever: Make) -> None:
    retriever = make_retriever(similarity_top_k=20)
    assert all(
        "casebilling" in found.text
        for found in retriever.retrieve(asked(where_document={"$contains": "casebilling"}))
    )
    generic = [found.node_id for found in retriever.retrieve(QUERY)]
    blended = retriever.retrieve(asked(instruction=KIND, blend=0.0, prefetch=96))
    assert [found.node_id for found in blended] == generic
    least = retriever.retrieve(QUERY)[4].score
    near = retriever.retrieve(asked(similarity_cutoff=least))
    assert [found.node_id for found in near] == [
        found.node_id for found in retriever.retrieve(QUERY) if (found.score or -1) >= least
    ]


def test_a_query_engine_passes_them_on(make_retriever: Make) -> None:
    engine = RetrieverQueryEngine.from_args(make_retriever(), llm=MockLLM())
    answer = engine.query(asked(instruction=KIND, filters=only("billing"), similarity_top_k=2))
    assert len(answer.source_nodes) == 2
    assert areas(answer.source_nodes) == {"billing"}


def test_copies_do_not_fill_the_results(make_index: Callable[..., VectorStoreIndex]) -> None:
    texts = ["paper jam tray"] * 6 + ["paper toner", "paper card", "tray account", "jam session"]
    index = make_index([TextNode(id_=f"{i}", text=text) for i, text in enumerate(texts)])
    retriever = InstructionTransformRetriever(index, similarity_top_k=5, mmr_threshold=0.5)
    assert len({found.text for found in retriever.retrieve("paper jam tray")}) == 5
    plain = InstructionQueryBundle("paper jam tray", mmr_threshold=None)
    assert len({found.text for found in retriever.retrieve(plain)}) == 1


@pytest.mark.parametrize(
    "wrong", [{"similarity_top_k": 0}, {"similarity_cutoff": 3}, {"mmr_threshold": "x"}]
)
def test_what_is_out_of_range_is_refused(make_retriever: Make, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make_retriever(**wrong)
    with pytest.raises(ConfigError):
        make_retriever().retrieve(asked(**wrong))
