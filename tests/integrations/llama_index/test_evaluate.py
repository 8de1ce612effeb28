"""Judged questions, asked of the tickets."""

from collections.abc import Callable

import pytest
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from instruct_embeddings import Questions
from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.tickets import KIND, asked_tickets

Make = Callable[..., InstructionTransformRetriever]


def test_generic_stands_beside_adapted(make_retriever: Make) -> None:
    queries, relevant = asked_tickets()
    retriever = make_retriever(similarity_top_k=10)
    report = retriever.evaluate(queries, relevant, instruction=KIND, blends=[1.0])
    assert report.questions == len(queries)
    assert report[1.0].ndcg > report[0.0].ndcg
    nodes = retriever.with_instruction(KIND).retrieve(queries[0])
    first = retriever.evaluate(queries[:1], relevant[:1], instruction=KIND, blends=[1.0])
    found = {node.node.node_id for node in nodes} & set(relevant[0])
    assert first[1.0].recall == pytest.approx(len(found) / len(relevant[0]))


def test_filters_hold(make_retriever: Make) -> None:
    queries, relevant = asked_tickets()
    retriever = make_retriever(instruction=KIND)
    billing = MetadataFilters(filters=[MetadataFilter(key="area", value="billing")])
    report = retriever.evaluate(queries, relevant, blends=[1.0], filters=billing)
    assert report.missing > 0


def test_judged_questions_choose_the_blend(make_retriever: Make) -> None:
    queries, relevant = asked_tickets()
    questions = Questions(queries, relevant)
    retriever = make_retriever(store=None, questions=questions)
    report = retriever.report(KIND)
    assert report.questions is not None
    assert report.blend == report.questions.blend > 0
    with pytest.raises(ConfigError, match="questions"):
        make_retriever(engine=retriever.engine, questions=questions)
