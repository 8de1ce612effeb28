"""Constructor arguments, and engines that are shared."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from instruct_embeddings import FitConfig, MetadataGuide
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    InstructionError,
    UnsupportedCollectionError,
)
from llama_index_instruct_embeddings import InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"


def test_a_vector_store_with_its_model_will_do(index: VectorStoreIndex, embed_model: Any) -> None:
    retriever = InstructionTransformRetriever(
        vector_store=index.vector_store, embed_model=embed_model, similarity_top_k=3
    )
    host = index.as_retriever(similarity_top_k=3).retrieve(QUERY)
    assert [x.node.node_id for x in retriever.retrieve(QUERY)] == [x.node.node_id for x in host]


def test_sources_are_checked(index: VectorStoreIndex, embed_model: Any) -> None:
    store = index.vector_store
    with pytest.raises(ConfigError, match="index=None and vector_store=None; exactly"):
        InstructionTransformRetriever(embed_model=embed_model)
    with pytest.raises(ConfigError, match="exactly one is wanted"):
        InstructionTransformRetriever(index, vector_store=store)
    with pytest.raises(ConfigError, match="embed_model=None"):
        InstructionTransformRetriever(vector_store=store)
    other: Any = index.as_retriever()
    with pytest.raises(ConfigError, match="Pass a VectorStoreIndex, or"):
        InstructionTransformRetriever(other)
    with pytest.raises(UnsupportedCollectionError, match=r"SimpleVectorStore\. Accepted"):
        InstructionTransformRetriever(vector_store=SimpleVectorStore(), embed_model=embed_model)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"guide": "kind"}, ConfigError, "MetadataGuide"),
        ({"instruction": ""}, InstructionError, "The instruction is empty"),
        ({"instructions": KIND}, TypeError, "instructions"),
    ],
)
def test_a_wrong_argument_is_an_error(
    make_retriever: Make, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_retriever(**arguments)


def test_defaults_are_those_of_the_host(index: VectorStoreIndex) -> None:
    retriever = InstructionTransformRetriever(index)
    host: Any = index.as_retriever()
    assert retriever.similarity_top_k == host.similarity_top_k == 2
    assert retriever.callback_manager is host.callback_manager
    mine = CallbackManager()
    assert InstructionTransformRetriever(index, callback_manager=mine).callback_manager is mine


def test_retrievers_over_one_engine_fit_once(
    cold: InstructionTransformRetriever, index: VectorStoreIndex, guide: Any
) -> None:
    adapted = cold.with_instruction(f" {KIND} ")
    other = InstructionTransformRetriever(
        index, engine=cold.engine, instruction=KIND, similarity_top_k=5
    )
    assert (cold.instruction, adapted.instruction) == (None, KIND)
    assert len(adapted.retrieve(QUERY)) == 20
    assert [item.node.metadata["kind"] for item in other.retrieve(QUERY)] == ["refund"] * 5
    assert guide.asked == [KIND]


def test_an_engine_has_its_parts_already(
    retriever: InstructionTransformRetriever, index: VectorStoreIndex
) -> None:
    engine = retriever.engine
    for part in ({"guide": MetadataGuide("area")}, {"fit": FitConfig()}, {"force": True}):
        arguments: dict[str, Any] = part
        with pytest.raises(ConfigError, match="either the engine or the others"):
            InstructionTransformRetriever(index, engine=engine, **arguments)


def test_an_engine_of_another_collection_is_refused(
    retriever: InstructionTransformRetriever, collection: Callable[[], Any], embed_model: Any
) -> None:
    other = ChromaVectorStore(chroma_collection=collection())
    with pytest.raises(CollectionMismatchError, match=r"engine searches ChromaVectors\('tickets"):
        InstructionTransformRetriever(
            vector_store=other, embed_model=embed_model, engine=retriever.engine
        )


def test_the_number_of_nodes_can_be_set(index: VectorStoreIndex) -> None:
    retriever = InstructionTransformRetriever(index)
    retriever.similarity_top_k = 3
    assert retriever.similarity_top_k == 3
    assert len(retriever.retrieve("it ate my photos")) == 3
    with pytest.raises(ConfigError, match=r"k must be an integer .*got 0"):
        retriever.similarity_top_k = 0
    assert retriever.similarity_top_k == 3
