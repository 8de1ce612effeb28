"""A store that one model filled is asked with the vectors of another, through a bridge."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from instruct_embeddings import fit_bridge
from instruct_embeddings.errors import CollectionMismatchError
from langchain_instruct_embeddings import InstructionTransformRetriever
from langchain_instruct_embeddings.bridged import BridgedEmbeddings
from tests.integrations.langchain.conftest import TinyEmbeddings, tickets

QUESTION = "What kind of message is it?"
TEXTS = [document.page_content for document in tickets()]
WIDER = np.linalg.qr(np.random.default_rng(5).standard_normal((40, 40)))[0][:32]


class NewModel(TinyEmbeddings):
    """The old model's vectors, turned into a space of 40 dimensions."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows = np.reshape(super().embed_documents(texts), (-1, len(WIDER)))
        turned: list[list[float]] = (rows @ WIDER).tolist()
        return turned


@pytest.fixture(scope="module")
def bridged() -> BridgedEmbeddings:
    old, new = TinyEmbeddings(), NewModel()
    return BridgedEmbeddings(new, fit_bridge(old.embed_documents, new.embed_documents, TEXTS))


def over(chroma: Chroma, embeddings: Embeddings) -> Chroma:
    return Chroma(
        client=chroma._client,
        collection_name=chroma._collection_name,
        embedding_function=embeddings,
    )


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


async def test_a_retriever_finds_what_it_found_before_without_a_new_fit(
    retriever: InstructionTransformRetriever,
    make_retriever: Callable[..., InstructionTransformRetriever],
    bridged: BridgedEmbeddings,
    chroma: Chroma,
) -> None:
    asked = {"instruction": QUESTION, "k": 10}
    before = [ids(retriever.invoke(text, **asked)) for text in TEXTS[:8]]
    after = make_retriever(vectorstore=over(chroma, bridged), guide=None)
    found = [ids(after.invoke(text, **asked)) for text in TEXTS[:8]]
    same = [len({*a} & {*b}) / 10 for a, b in zip(before, found, strict=True)]
    assert np.mean(same) > 0.9
    assert ids(await after.ainvoke(TEXTS[0], **asked)) == found[0]


def test_without_the_bridge_the_new_model_is_refused(
    make_retriever: Callable[..., InstructionTransformRetriever], chroma: Chroma
) -> None:
    with pytest.raises(CollectionMismatchError, match="40"):
        make_retriever(vectorstore=over(chroma, NewModel())).invoke(TEXTS[0])


async def test_all_methods_map_alike(bridged: BridgedEmbeddings) -> None:
    wanted: Any = TinyEmbeddings().embed_documents(TEXTS[:3])
    documents = bridged.embed_documents(TEXTS[:3])
    cosines = (np.array(documents) * np.array(wanted)).sum(axis=1)
    assert cosines.min() > 0.95
    assert await bridged.aembed_documents(TEXTS[:3]) == documents
    query = bridged.embed_query(TEXTS[0])
    assert query == pytest.approx(documents[0], abs=1e-6)
    assert await bridged.aembed_query(TEXTS[0]) == query
    assert bridged.embed_documents([]) == []
