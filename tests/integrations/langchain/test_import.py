"""The package without its host."""

import sys

import pytest

import langchain_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("CompressorJudge", "langchain_core"),
        ("InstructEmbeddings", "langchain_core"),
        ("InstructionTransformRetriever", "langchain_core"),
        ("StoreVectors", "langchain_core"),
    ],
)
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module}.*instruct-embeddings\[langchain\]"):
        getattr(langchain_instruct_embeddings, name)


@pytest.mark.parametrize("name", langchain_instruct_embeddings.__all__)
def test_no_vector_store_is_needed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "langchain_chroma", None)
    assert getattr(langchain_instruct_embeddings, name).__name__ == name


def test_the_public_names() -> None:
    assert dir(langchain_instruct_embeddings) == [
        "BridgedEmbeddings",
        "CompressorJudge",
        "InstructEmbeddings",
        "InstructionTransformRetriever",
        "SituatedEmbeddings",
        "StoreVectors",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = langchain_instruct_embeddings.Retriver
