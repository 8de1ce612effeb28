"""The package without its host."""

import sys

import pytest

import llama_index_instruct_embeddings
from instruct_embeddings.errors import MissingExtraError


@pytest.mark.parametrize("missing", ["llama_index.core", "llama_index.vector_stores.chroma"])
@pytest.mark.parametrize("name", llama_index_instruct_embeddings.__all__)
def test_a_missing_host_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[llama-index\]"):
        getattr(llama_index_instruct_embeddings, name)


def test_the_public_names() -> None:
    assert dir(llama_index_instruct_embeddings) == [
        "InstructionQueryBundle",
        "InstructionTransformRetriever",
        "to_where",
    ]
    with pytest.raises(AttributeError, match="Retriver"):
        _ = llama_index_instruct_embeddings.Retriver
