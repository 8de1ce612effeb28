"""One engine behind copies, threads and batches: an instruction is fitted once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField

from instruct_embeddings import FitConfig, MetadataGuide
from langchain_instruct_embeddings import InstructionTransformRetriever

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


def test_eight_first_calls_fit_once(cold: InstructionTransformRetriever, guide: Any) -> None:
    together = Barrier(8)

    def ask(_: int) -> list[str | None]:
        together.wait(timeout=10)
        return [document.id for document in cold.invoke(QUERY, instruction=KIND, k=5)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert guide.asked == [KIND]
    assert answers == [answers[0]] * 8


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


def test_the_next_process_finds_the_transform_in_the_store(
    make_retriever: Make, guide: Any, tmp_path: Path
) -> None:
    first = make_retriever(store=tmp_path).invoke(QUERY, instruction=KIND, k=10)
    second = make_retriever(store=str(tmp_path)).invoke(QUERY, instruction=KIND, k=10)
    assert guide.asked == [KIND]
    assert [document.id for document in first] == [document.id for document in second]
    unguided = make_retriever(store=tmp_path, guide=None).invoke(QUERY, instruction=KIND, k=10)
    assert [document.id for document in first] == [document.id for document in unguided]
