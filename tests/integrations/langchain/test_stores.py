"""Vector stores of engines without an adapter, by their public methods alone."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from instruct_embeddings import EncoderJudge, RelevanceFeedback
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from langchain_instruct_embeddings import InstructionTransformRetriever, StoreVectors, stores
from tests.integrations.langchain.conftest import TinyEmbeddings, tickets
from tests.integrations.tickets import KIND, CountingGuide
from tests.movers import TinyInstant

QUERY = "printer broken"


class CountingEmbeddings(TinyEmbeddings):
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return super().embed_documents(texts)


@pytest.fixture
def model() -> CountingEmbeddings:
    return CountingEmbeddings()


@pytest.fixture
def store(model: CountingEmbeddings) -> InMemoryVectorStore:
    found = InMemoryVectorStore(model)
    found.add_documents(list(tickets()))
    model.texts.clear()
    return found


def make(store: VectorStore, **options: Any) -> InstructionTransformRetriever:
    options = {"instant": None, "k": 5} | options
    return InstructionTransformRetriever(vectorstore=store, **options)


def test_documents_are_those_of_the_store_itself(store: InMemoryVectorStore) -> None:
    found = make(store).invoke(QUERY)
    assert found == store.similarity_search(QUERY, k=5)
    assert all(np.isnan(score) for _, score in make(store).invoke_with_scores(QUERY))


@pytest.mark.parametrize("rescore", [False, True])
def test_an_instruction_is_learned_and_ranks(store: InMemoryVectorStore, rescore: bool) -> None:
    guide = CountingGuide()
    collection = StoreVectors(store, rescore=rescore)
    retriever = make(store, collection=collection, guide=guide, k=8, force=True)
    found = retriever.invoke_with_scores(QUERY, instruction=KIND)
    kinds = [document.metadata["kind"] for document, _ in found]
    assert kinds.count("failure") == 8
    assert len(guide.asked) == 1
    scores = [score for _, score in found]
    assert all(-1 <= score <= 1 for score in scores) if rescore else np.isnan(scores).all()


@pytest.mark.parametrize("rescore", [False, True])
def test_the_instant_query_moves_the_query(
    store: InMemoryVectorStore, model: CountingEmbeddings, rescore: bool
) -> None:
    retriever = make(store, collection=StoreVectors(store, rescore=rescore), instant=TinyInstant())
    found = retriever.invoke("printer", instruction="refund money")
    assert {document.metadata["kind"] for document in found} == {"refund"}
    assert len(model.texts) <= 98
    # Constraints need vectors.
    constrained = retriever.invoke("printer", instruction="Only broken error.")
    assert len(constrained) == 5


def test_scores_are_cosines_where_texts_are_embedded_again(
    store: InMemoryVectorStore, model: CountingEmbeddings
) -> None:
    retriever = make(store, collection=StoreVectors(store, rescore=True))
    found = retriever.invoke_with_scores(QUERY)
    theirs = store.similarity_search_with_score(QUERY, k=5)
    np.testing.assert_allclose([one for _, one in found], [one for _, one in theirs], atol=1e-5)
    near = make(store, collection=retriever.collection, score_threshold=0.3, k=50)
    assert all(score >= 0.3 for _, score in near.invoke_with_scores(QUERY))
    varied = make(store, collection=retriever.collection, lambda_mult=0.5).invoke(QUERY)
    assert len(varied) == 5


def test_what_an_embedding_api_is_asked(
    store: InMemoryVectorStore, model: CountingEmbeddings, caplog: pytest.LogCaptureFixture
) -> None:
    """Said before it is spent; each text once; the best thirty where texts are rescored."""
    with caplog.at_level(logging.WARNING):
        plain = make(store, guide=CountingGuide(), force=True)
        plain.invoke(QUERY, instruction=KIND)
    assert "up to 1000 of its texts are embedded again by CountingEmbeddings" in caplog.text
    assert len(model.texts) == len(set(model.texts)) <= 98  # a query, a word and the tickets
    model.texts.clear()
    plain.invoke(QUERY, instruction=KIND)
    plain.invoke("billing refund", instruction=KIND)
    assert model.texts == [QUERY, "billing refund"]
    model.texts.clear()
    again = StoreVectors(store, rescore=True)
    make(store, collection=again).invoke(QUERY)
    assert len(model.texts) == 7  # a query, a word and the five results


def test_a_new_process_asks_for_the_best_thirty(
    store: InMemoryVectorStore, model: CountingEmbeddings, tmp_path: Path
) -> None:
    def retriever() -> InstructionTransformRetriever:
        collection = StoreVectors(store, name="tickets", rescore=True)
        return InstructionTransformRetriever(
            vectorstore=store,
            collection=collection,
            guide=guide,
            store=tmp_path,
            force=True,
            instant=None,
        )

    guide = CountingGuide()
    first = retriever().invoke(QUERY, instruction=KIND)
    model.texts.clear()
    assert retriever().invoke(QUERY, instruction=KIND) == first
    assert len(guide.asked) == 1  # found again by the name
    assert len(model.texts) <= 32


def test_without_a_name_transforms_serve_one_process(store: InMemoryVectorStore) -> None:
    ids = [StoreVectors(store).info().id for _ in range(2)]
    assert ids[0] != ids[1]
    named = [StoreVectors(store, name="tickets").info() for _ in range(2)]
    assert named[0] == named[1]
    assert StoreVectors(store, name="reviews").info() != named[0]


def test_a_collection_that_was_made_anew_is_noticed(
    store: InMemoryVectorStore, model: CountingEmbeddings
) -> None:
    vectors = StoreVectors(store, name="tickets")
    vectors.sample(50, seed=0)
    before = vectors.info()
    store.delete([f"printer-refund-{n}" for n in range(8)])
    vectors.sample(50, seed=1)
    assert vectors.info() == before
    store.store.clear()
    store.add_documents([Document("something else"), Document("and another thing")])
    vectors.sample(50, seed=2)
    assert vectors.info() != before


def test_retrievers_of_one_store_share_an_engine(store: InMemoryVectorStore) -> None:
    first = make(store, guide=CountingGuide())
    second = InstructionTransformRetriever(vectorstore=store, engine=first.engine, k=2)
    assert second.engine is first.engine


def test_samples_are_repeatable_distinct_and_bounded(store: InMemoryVectorStore) -> None:
    vectors = StoreVectors(store, sample_limit=60)
    rows = vectors.sample(40, seed=1)
    assert len(set(rows.ids)) == 40
    assert vectors.sample(40, seed=1).ids == rows.ids
    assert vectors.sample(40, seed=2).ids != rows.ids
    assert len(vectors.sample(1000, seed=1)) == 60
    assert len(StoreVectors(store).sample(1000, seed=1)) == 96  # all, by searching around
    stored = {one.id: one for one in tickets()}
    for row, text, vector in zip(rows.ids, rows.texts, rows.vectors, strict=True):
        assert text == stored[row].page_content
        np.testing.assert_allclose(vector, TinyEmbeddings().embed_query(text), atol=1e-6)


def test_the_async_way_finds_the_same(store: InMemoryVectorStore) -> None:
    import asyncio

    retriever = make(store)
    assert asyncio.run(retriever.ainvoke(QUERY)) == retriever.invoke(QUERY)


def test_filters_are_those_of_the_store(store: InMemoryVectorStore) -> None:
    def passes(document: Document) -> bool:
        return bool(document.metadata["kind"] == "refund")

    collection = StoreVectors(store, filter_argument="filter")
    found = make(store, collection=collection, filter=passes, k=50).invoke(QUERY)
    assert {document.metadata["kind"] for document in found} == {"refund"}
    assert len(found) == 32


def test_a_filter_that_the_store_may_ignore_is_refused(store: InMemoryVectorStore) -> None:
    with pytest.raises(ConfigError, match=r"arguments are embedding, k, kwargs.*filter_argument"):
        make(store).invoke(QUERY, filter={"kind": "refund"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score_threshold": 0.5}, "score_threshold=0.5 cannot be obeyed.*rescore=True"),
        ({"lambda_mult": 0.5}, "lambda_mult=0.5 cannot be obeyed"),
        ({"where_document": {"$contains": "x"}}, "no filter of texts"),
    ],
)
def test_what_cannot_be_obeyed_is_said(
    store: InMemoryVectorStore, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make(store, **options).invoke(QUERY)


def test_every_row_cannot_be_scored(store: InMemoryVectorStore) -> None:
    retriever = make(store, guide=CountingGuide(), exact=True)
    with pytest.raises(ConfigError, match="rows of this store cannot be listed"):
        retriever.invoke(QUERY, instruction=KIND)


def test_a_judge_needs_vectors(store: InMemoryVectorStore) -> None:
    judge = RelevanceFeedback(EncoderJudge())
    with pytest.raises(ValueError, match=r"does not give vectors back.*rescore=True"):
        make(store, feedback=judge)
    make(store, feedback=judge, collection=StoreVectors(store, rescore=True))


def test_an_empty_store_is_said() -> None:
    retriever = make(InMemoryVectorStore(TinyEmbeddings()), guide=CountingGuide())
    assert retriever.invoke(QUERY) == []
    with pytest.raises(EmptyCollectionError, match="'InMemoryVectorStore' is empty"):
        retriever.invoke(QUERY, instruction=KIND)


class Bare(VectorStore):
    """What every store has at least."""

    def __init__(self, embeddings: Embeddings | None) -> None:
        self.model = embeddings

    @property
    def embeddings(self) -> Embeddings | None:
        return self.model

    @classmethod
    def from_texts(cls, *arguments: Any, **options: Any) -> "Bare":
        raise NotImplementedError

    def similarity_search(self, *arguments: Any, **options: Any) -> list[Document]:
        raise NotImplementedError


class WithoutIds(Bare):
    """Documents without ids, and no `get_by_ids`."""

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        return [Document(f"text {n}", metadata={"n": n}) for n in range(min(k, 9))]


def test_documents_without_ids_are_told_apart_by_what_they_hold() -> None:
    store = WithoutIds(TinyEmbeddings())
    found = make(store, k=9).invoke(QUERY)
    assert [document.metadata["n"] for document in found] == list(range(9))
    assert len({document.id for document in found}) == 9
    assert len(StoreVectors(store).fetch(["gone"])) == 0


def test_more_results_than_are_kept_come_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_KEPT", 3)
    found = StoreVectors(WithoutIds(TinyEmbeddings()))
    query = np.ones(found.info().dimension, dtype=np.float32)
    near = found.search(query, k=9)
    assert near.rows.texts == tuple(f"text {n}" for n in range(9))
    assert len(near.scores) == 9


def test_a_store_that_cannot_be_searched_by_a_vector_is_said() -> None:
    with pytest.raises(UnsupportedCollectionError, match="Bare has no similarity_search_by_vector"):
        make(Bare(TinyEmbeddings())).invoke(QUERY)


def test_embeddings_are_needed_and_may_be_given() -> None:
    with pytest.raises(ConfigError, match=r"Bare with embeddings of the type NoneType"):
        StoreVectors(Bare(None))
    assert StoreVectors(Bare(None), embeddings=TinyEmbeddings()).info().dimension > 1


def test_vectors_of_another_dimension_are_refused(store: InMemoryVectorStore) -> None:
    with pytest.raises(CollectionMismatchError, match=r"shape \(2,\)"):
        StoreVectors(store).search(np.ones(2, dtype=np.float32), k=1)


@pytest.mark.parametrize("method", ["count", "state", "scan"])
def test_what_is_not_known_is_not_made_up(store: InMemoryVectorStore, method: str) -> None:
    with pytest.raises(UnsupportedCollectionError, match=rf"do not give {method}"):
        getattr(StoreVectors(store), method)()


def test_an_explanation_needs_vectors(store: InMemoryVectorStore) -> None:
    guide = CountingGuide()
    retriever = make(store, collection=StoreVectors(store, rescore=True), guide=guide, force=True)
    explanation = retriever.explain(QUERY, KIND, sample=50)
    assert explanation.stored is None
    assert "failure" in str(explanation)


def test_a_store_of_a_known_engine_can_be_asked_so(open_chroma: Callable[..., Any]) -> None:
    store = open_chroma(TinyEmbeddings())
    store.add_documents(list(tickets()))
    found = make(store, collection=StoreVectors(store), filter={"kind": "refund"}).invoke(QUERY)
    assert found == store.similarity_search(QUERY, k=5, filter={"kind": "refund"})


def test_a_query_is_embedded_by_the_model_that_the_collection_was_given(
    store: InMemoryVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = store.similarity_search(QUERY, k=5)
    monkeypatch.setattr(type(store), "embeddings", None)  # as of a store that keeps it to itself
    with pytest.raises(ValueError, match="has no embeddings object"):
        make(store)
    own = TinyEmbeddings()
    assert make(store, collection=StoreVectors(store, embeddings=own)).invoke(QUERY) == expected
