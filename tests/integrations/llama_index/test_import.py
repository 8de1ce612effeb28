"""The package without its host."""

import sys

import pytest

import llama_index_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError

CHROMA = "llama_index.vector_stores.chroma"
NEEDS_CHROMA = [name for name in llama_index_instruct_embeddings.__all__ if "Embedding" not in name]


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        *(("llama_index.core", name) for name in llama_index_instruct_embeddings.__all__),
        *((CHROMA, name) for name in NEEDS_CHROMA),
    ],
)
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[llama-index\]"):
        getattr(llama_index_instruct_embeddings, name)


def test_the_embedding_model_needs_no_chroma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CHROMA, None)
    assert llama_index_instruct_embeddings.InstructEmbedding.class_name() == "InstructEmbedding"


def test_the_public_names() -> None:
    assert dir(llama_index_instruct_embeddings) == [
        "BridgedEmbedding",
        "InstructEmbedding",
        "InstructionQueryBundle",
        "InstructionTransformRetriever",
        "to_where",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = llama_index_instruct_embeddings.Retriver
