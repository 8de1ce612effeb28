"""The package without its host."""

import sys

import pytest

import llama_index_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError

CHROMA = "llama_index.vector_stores.chroma"


@pytest.mark.parametrize("name", llama_index_instruct_embeddings.__all__)
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core", None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[llama-index\]"):
        getattr(llama_index_instruct_embeddings, name)


@pytest.mark.parametrize("name", llama_index_instruct_embeddings.__all__)
def test_no_vector_store_is_needed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, CHROMA, None)
    assert getattr(llama_index_instruct_embeddings, name).__name__ == name


def test_the_public_names() -> None:
    assert dir(llama_index_instruct_embeddings) == [
        "BridgedEmbedding",
        "InstructEmbedding",
        "InstructionQueryBundle",
        "InstructionTransformRetriever",
        "PostprocessorJudge",
        "SituatedEmbedding",
        "to_where",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = llama_index_instruct_embeddings.Retriver
