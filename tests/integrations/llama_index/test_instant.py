"""LlamaIndex's retriever answers new instructions at once."""

from collections.abc import Sequence

import pytest
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import NodeWithScore

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.instant import InstantQuery
from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever
from tests.movers import TinyInstant


def retriever(index: VectorStoreIndex, instruction: str | None) -> InstructionTransformRetriever:
    return InstructionTransformRetriever(
        index, instant=TinyInstant(), instruction=instruction, similarity_top_k=5
    )


def texts(found: Sequence[NodeWithScore]) -> list[str]:
    return [one.node.get_content() for one in found]


def test_an_instruction_needs_neither_guide_nor_fit(index: VectorStoreIndex) -> None:
    assert all("printer" in text for text in texts(retriever(index, None).retrieve("printer")))
    found = texts(retriever(index, "refund").retrieve("printer"))
    assert all("refund" in text for text in found)
    asked = InstructionQueryBundle("printer", instruction="refund")
    assert texts(retriever(index, None).retrieve(asked)) == found


async def test_coroutines_get_the_same(index: VectorStoreIndex) -> None:
    asked = retriever(index, "refund")
    assert texts(await asked.aretrieve("printer")) == texts(asked.retrieve("printer"))


def test_a_constraint_is_obeyed(index: VectorStoreIndex) -> None:
    found = texts(retriever(index, "Only refund").retrieve("printer"))
    assert all("refund" in text for text in found)


def test_the_one_of_the_package_is_the_default(index: VectorStoreIndex) -> None:
    assert isinstance(InstructionTransformRetriever(index).engine.instant, InstantQuery)
    assert InstructionTransformRetriever(index, instant=None).engine.instant is None


def test_what_is_no_instant_query_is_refused(index: VectorStoreIndex) -> None:
    with pytest.raises(ConfigError, match="instant='yes' is not an instant query"):
        InstructionTransformRetriever(index, instant="yes")  # type: ignore[arg-type]
