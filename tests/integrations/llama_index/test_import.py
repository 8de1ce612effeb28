"""The package without its host."""

import sys

import pytest

import llama_index_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError

CHROMA = "llama_index.vector_stores.chroma"
NEEDS_CHROMA = ["InstructionQueryBundle", "InstructionTransformRetriever", "to_where"]


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


@pytest.mark.parametrize("name", ["InstructEmbedding", "BridgedEmbedding", "PostprocessorJudge"])
def test_embedding_models_and_the_judge_need_no_chroma(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, CHROMA, None)
    assert getattr(llama_index_instruct_embeddings, name).__name__ == name


def test_the_public_names() -> None:
    assert dir(llama_index_instruct_embeddings) == [
        "BridgedEmbedding",
        "InstructEmbedding",
        "InstructionQueryBundle",
        "InstructionTransformRetriever",
        "PostprocessorJudge",
        "to_where",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = llama_index_instruct_embeddings.Retriver
