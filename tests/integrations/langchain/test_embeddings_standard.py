"""The suites that LangChain ships for embeddings, on a tiny checkpoint and on real weights."""

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_instruct_embeddings import InstructEmbeddings
from tests.models import INSTRUCTION, tiny_checkpoint


class _Tiny:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return InstructEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": tiny_checkpoint(), "query_instruction": INSTRUCTION}


class _MiniLM:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return InstructEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"local_files_only": True}


class TestTinyUnit(_Tiny, EmbeddingsUnitTests):
    """Construction."""


class TestTinyIntegration(_Tiny, EmbeddingsIntegrationTests):
    """Vectors, also through the asynchronous methods."""


@pytest.mark.slow
class TestMiniLMUnit(_MiniLM, EmbeddingsUnitTests):
    """Construction with the default model."""


@pytest.mark.slow
class TestMiniLMIntegration(_MiniLM, EmbeddingsIntegrationTests):
    """Vectors of real weights."""
