"""The suite that LangChain ships for retrievers."""

from pathlib import Path
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from instruct_embeddings import FitConfig
from langchain_instruct_embeddings import InstructionTransformRetriever


class Standard(RetrieversIntegrationTests):
    """Of a retriever whose fields are `fields`."""

    instruction: str | None = None
    fields: dict[str, Any]

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return InstructionTransformRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {**self.fields, "instruction": self.instruction}

    @property
    def retriever_query_example(self) -> str:
        return "paper jam in the printer"


class _OverChroma(Standard):
    @pytest.fixture(autouse=True)
    def _given(self, chroma: Chroma, guide: Any, fit: FitConfig, known: Path) -> None:
        self.fields = {"store": known, "vectorstore": chroma, "guide": guide, "fit": fit}


class TestGenericRetriever(_OverChroma):
    """Without an instruction."""


class TestAdaptedRetriever(_OverChroma):
    """With a default instruction."""

    instruction = "What kind of request is it?"
