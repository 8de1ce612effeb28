"""Judged questions, asked of the tickets."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_chroma import Chroma

from instruct_embeddings import Questions
from instruct_embeddings.errors import ConfigError, InstructionError
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.tickets import KIND, asked_tickets

Make = Callable[..., InstructionTransformRetriever]


def test_generic_stands_beside_adapted(retriever: InstructionTransformRetriever) -> None:
    queries, relevant = asked_tickets()
    report = retriever.evaluate(queries, relevant, instruction=KIND, blends=[1.0])
    assert report.questions == len(queries)
    assert report[1.0].ndcg > report[0.0].ndcg
    assert report.blend == 1.0
    documents = retriever.invoke(queries[0], instruction=KIND, k=10)
    first = retriever.evaluate(queries[:1], relevant[:1], instruction=KIND, blends=[1.0])
    found = {document.id for document in documents} & set(relevant[0])
    assert first[1.0].recall == pytest.approx(len(found) / len(relevant[0]))


def test_the_own_instruction_and_filter_hold(make_retriever: Make) -> None:
    queries, relevant = asked_tickets()
    own = make_retriever(instruction=KIND, filter={"area": "billing"})
    qrels = {str(i): dict.fromkeys(ids, 1) for i, ids in enumerate(relevant)}
    report = own.evaluate(dict(enumerate(queries)), qrels, blends=[1.0])
    everywhere = own.evaluate(queries, relevant, blends=[1.0], filter=None)
    assert report.missing > everywhere.missing == 0
    with pytest.raises(InstructionError, match="no instruction to evaluate"):
        make_retriever().evaluate(queries, relevant)
    with pytest.raises(ConfigError, match="None of the 1 relevant rows"):
        own.evaluate(["a ticket"], [["nowhere"]])


def test_judged_questions_choose_the_blend(make_retriever: Make, chroma: Chroma) -> None:
    queries, relevant = asked_tickets()
    questions = Questions(queries, relevant, KIND)
    judged = make_retriever(store=None, questions=questions)
    report = judged.report(KIND)
    assert report.questions is not None
    assert report.questions.questions == len(queries)
    assert report.blend > 0
    assert judged.blend is None
    same = judged.invoke(queries[0], instruction=KIND, blend=report.blend)
    assert judged.invoke(queries[0], instruction=KIND) == same
    again = make_retriever(store=None, questions=questions, engine=judged.engine)
    assert again.engine is judged.engine
    assert InstructionTransformRetriever(vectorstore=chroma, engine=judged.engine).engine is (
        judged.engine
    )
    others = Questions(queries[:1], relevant[:1], KIND)
    assert make_retriever(store=None, questions=others, engine=judged.engine).engine is not (
        judged.engine
    )


def test_the_blend_is_kept_for_the_next_process(make_retriever: Make, tmp_path: Path) -> None:
    queries, relevant = asked_tickets()
    questions = Questions(queries, relevant, KIND)
    report = make_retriever(store=tmp_path, questions=questions).report(KIND)
    assert make_retriever(store=tmp_path, guide=None).report(KIND) == report
