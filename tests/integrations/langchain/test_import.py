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
        ("InstructionTransformRetriever", "langchain_chroma"),
    ],
)
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module}.*instruct-embeddings\[langchain\]"):
        getattr(langchain_instruct_embeddings, name)


def test_embeddings_do_not_need_a_vector_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_chroma", None)
    assert langchain_instruct_embeddings.InstructEmbeddings.__name__ == "InstructEmbeddings"


def test_the_public_names() -> None:
    assert dir(langchain_instruct_embeddings) == [
        "BridgedEmbeddings",
        "CompressorJudge",
        "InstructEmbeddings",
        "InstructionTransformRetriever",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = langchain_instruct_embeddings.Retriver
