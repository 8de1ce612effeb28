"""An index that one model filled is asked with the vectors of another, through a bridge."""

from collections.abc import Callable

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore

from instruct_embeddings import QueryBridge, fit_bridge
from llama_index_instruct_embeddings import InstructionTransformRetriever
from llama_index_instruct_embeddings.bridged import BridgedEmbedding
from tests.integrations.llama_index.conftest import TinyEmbedding, tickets

QUESTION = "What kind of message is it?"
TEXTS = [node.text for node in tickets()]
WIDER = np.linalg.qr(np.random.default_rng(5).standard_normal((40, 40)))[0][:32]


class NewModel(TinyEmbedding):
    """The old model's vectors, turned into a space of 40 dimensions."""

    def _get_text_embedding(self, text: str) -> list[float]:
        turned: list[float] = (np.array(super()._get_text_embedding(text)) @ WIDER).tolist()
        return turned


@pytest.fixture(scope="module")
def bridge() -> QueryBridge:
    old, new = TinyEmbedding(), NewModel()
    return fit_bridge(
        old.get_text_embedding_batch, new.get_text_embedding_batch, TEXTS, new_model="wider"
    )


@pytest.fixture(scope="module")
def bridged(bridge: QueryBridge) -> BridgedEmbedding:
    return BridgedEmbedding(NewModel(), bridge)


def ids(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.node_id for node in nodes]


async def test_a_retriever_finds_what_it_found_before_without_a_new_fit(
    make_retriever: Callable[..., InstructionTransformRetriever],
    index: VectorStoreIndex,
    bridged: BridgedEmbedding,
) -> None:
    asked = {"instruction": QUESTION, "similarity_top_k": 10}
    before = make_retriever(**asked)
    wanted = [ids(before.retrieve(text)) for text in TEXTS[:8]]
    after = make_retriever(**asked, guide=None, embed_model=bridged)
    found = [ids(after.retrieve(text)) for text in TEXTS[:8]]
    same = [len({*a} & {*b}) / 10 for a, b in zip(wanted, found, strict=True)]
    assert np.mean(same) > 0.9
    assert ids(await after.aretrieve(TEXTS[0])) == found[0]


async def test_all_methods_map_alike(bridged: BridgedEmbedding) -> None:
    wanted = TinyEmbedding().get_text_embedding_batch(TEXTS[:3])
    nodes = bridged.get_text_embedding_batch(TEXTS[:3])
    assert (np.array(nodes) * np.array(wanted)).sum(axis=1).min() > 0.95
    np.testing.assert_allclose(await bridged.aget_text_embedding_batch(TEXTS[:3]), nodes, atol=1e-6)
    query = bridged.get_query_embedding(TEXTS[0])
    assert query == pytest.approx(nodes[0], abs=1e-6)
    assert await bridged.aget_query_embedding(TEXTS[0]) == query


def test_it_tells_its_name_and_not_the_bridge(bridged: BridgedEmbedding) -> None:
    told = bridged.to_dict()
    assert (told["class_name"], told["model_name"]) == ("BridgedEmbedding", "wider")
    assert "bridge" not in told
