"""One engine behind copies, threads and batches: an instruction is fitted once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField

from instruct_embeddings import FitConfig, MetadataGuide, Questions
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.tickets import asked_tickets
from tests.movers import TinyInstant

Make = Callable[..., InstructionTransformRetriever]
QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"


def refunds(documents: list[Document]) -> int:
    return sum(document.metadata["kind"] == "refund" for document in documents)


def test_copies_do_not_fit_again(cold: InstructionTransformRetriever, guide: Any) -> None:
    configurable = cold.configurable_fields(
        instruction=ConfigurableField(id="instruction"),
        k=ConfigurableField(id="k"),
        filter=ConfigurableField(id="filter"),
    )
    for k in (5, 20):
        config: Any = {"configurable": {"instruction": KIND, "k": k}}
        found = configurable.invoke(QUERY, config)
        assert (len(found), refunds(found)) == (k, k)
    assert refunds(configurable.invoke(QUERY, {"configurable": {"k": 20}})) == 8
    assert refunds(cold.bind(instruction=KIND, k=6).invoke(QUERY)) == 6
    assert refunds(cold.model_copy(update={"instruction": KIND}).invoke(QUERY)) == 4
    assert guide.asked == [KIND]


def test_batch_takes_call_arguments(retriever: InstructionTransformRetriever) -> None:
    queries = [QUERY, "how explain", "broken error", "money"]
    found = retriever.batch(queries, k=3, instruction=KIND)
    kinds = [{document.metadata["kind"] for document in documents} for documents in found]
    assert kinds == [{"refund"}, {"question"}, {"failure"}, {"refund"}]


async def test_abatch_takes_call_arguments(
    retriever: InstructionTransformRetriever,
) -> None:
    found = await retriever.abatch([QUERY, "money"], k=3, instruction=KIND)
    assert [refunds(documents) for documents in found] == [3, 3]


def test_a_copy_with_the_same_parts_keeps_the_engine(
    retriever: InstructionTransformRetriever, make_retriever: Make
) -> None:
    same = make_retriever(engine=retriever.engine, k=9, guide=MetadataGuide("kind"))
    assert same.engine is retriever.engine


def test_an_engine_brings_its_parts_along(
    retriever: InstructionTransformRetriever, chroma: Chroma
) -> None:
    other = InstructionTransformRetriever(vectorstore=chroma, engine=retriever.engine)
    assert other.engine is retriever.engine
    assert (other.guide, other.fit) == (retriever.guide, retriever.fit)


def test_another_store_object_over_the_same_collection_keeps_the_engine(
    retriever: InstructionTransformRetriever, open_chroma: Callable[..., Chroma], chroma: Chroma
) -> None:
    again = open_chroma(name=chroma._collection.name)
    other = InstructionTransformRetriever(vectorstore=again, engine=retriever.engine)
    assert other.engine is retriever.engine


@pytest.mark.parametrize(
    "change",
    [
        {"guide": MetadataGuide("area")},
        {"guide": None},
        {"store": "elsewhere"},
        {"fit": FitConfig(seed=1)},
        {"force": True},
        {"instant": TinyInstant()},
        {"on_fit": print},
        {"questions": Questions(*asked_tickets())},
    ],
)
def test_an_engine_with_other_parts_is_rebuilt(
    retriever: InstructionTransformRetriever,
    make_retriever: Make,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    if "store" in change:
        change = {"store": tmp_path / "elsewhere"}
    changed = make_retriever(engine=retriever.engine, **change)
    assert changed.engine is not retriever.engine
    assert changed.engine.guide is changed.guide


def test_another_collection_is_another_engine(
    retriever: InstructionTransformRetriever,
    make_retriever: Make,
    open_chroma: Callable[..., Chroma],
) -> None:
    empty = open_chroma()
    changed = make_retriever(engine=retriever.engine, vectorstore=empty)
    assert changed.engine is not retriever.engine


def test_alternatives_by_guide_are_each_fitted_once(make_retriever: Make, guide: Any) -> None:
    area = type(guide)("area")
    by_kind = make_retriever(instruction=KIND)
    by_area = make_retriever(instruction="What is it about?", guide=area, store=None)
    aspects = by_kind.configurable_alternatives(
        ConfigurableField(id="aspect"), default_key="kind", area=by_area
    )
    for _ in range(2):
        assert refunds(aspects.invoke(QUERY, k=12)) == 12
        found: Any = aspects.invoke(QUERY, {"configurable": {"aspect": "area"}}, k=12)
        assert {document.metadata["area"] for document in found} == {"printer"}
    assert area.asked == ["What is it about?"]
