"""The package without its host."""

import sys

import pytest

import langchain_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError


@pytest.mark.parametrize("module", ["langchain_core", "langchain_chroma"])
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module}.*instruct-embeddings\[langchain\]"):
        from langchain_instruct_embeddings import InstructionTransformRetriever  # noqa: F401


def test_the_public_names() -> None:
    assert dir(langchain_instruct_embeddings) == ["InstructionTransformRetriever"]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = langchain_instruct_embeddings.Retriver
