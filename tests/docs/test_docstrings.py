"""Class docstrings of the adapters have the sections of their hosts, and code that runs."""

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from llama_index.core import Document, Settings
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine

import chroma_instruct_embeddings as chroma
import instruct_embeddings
import langchain_instruct_embeddings as langchain
import llama_index_instruct_embeddings as llama_index
import milvus_instruct_embeddings as milvus
import postgres_instruct_embeddings as postgres
import qdrant_instruct_embeddings as qdrant

SECTIONS = {
    langchain.InstructionTransformRetriever: (
        "Setup",
        "Key init args",
        "Instantiate",
        "Usage",
        "Async",
        "Use within a chain",
    ),
    langchain.InstructEmbeddings: (
        "Setup",
        "Key init args",
        "Instantiate",
        "Embed single text",
        "Embed multiple text",
        "Async",
        "Usage",
    ),
    llama_index.InstructionTransformRetriever: (
        "Setup",
        "Key init args",
        "Instantiate",
        "Usage",
        "Async",
        "Use within a query engine",
    ),
    llama_index.InstructEmbedding: ("Setup", "Key init args", "Instantiate", "Usage"),
    llama_index.InstructionQueryBundle: ("Usage",),
    chroma.InstructEmbeddingFunction: ("Setup", "Instantiate", "Usage"),
    chroma.ChromaVectors: ("Instantiate",),
    milvus.MilvusVectors: ("Instantiate",),
    postgres.PostgresVectors: ("Instantiate",),
    qdrant.QdrantVectors: ("Instantiate",),
}
GUIDES = [
    getattr(instruct_embeddings, name)
    for name in instruct_embeddings.__all__
    if name == "GuideByInstruction" or name.endswith("Guide")
]
# What the examples take from their hosts without importing it.
OF_HOSTS = {
    "IngestionPipeline": IngestionPipeline,
    "RunnablePassthrough": RunnablePassthrough,
    "SentenceSplitter": SentenceSplitter,
    "documents": [Document(text="It ate my photos.")],
    "format_docs": lambda documents: "\n\n".join(one.page_content for one in documents),
    "prompt": ChatPromptTemplate.from_template("{context}\n\n{question}"),
}


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_sections_stand_in_their_order(cls: type) -> None:
    found = re.findall(r"^([A-Z][\w ]+):$", _doc(cls), re.MULTILINE)
    assert [name for name in found if name in SECTIONS[cls]] == list(SECTIONS[cls])


@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
async def test_examples_run(
    cls: type, granted: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(r"^ *```python\n(.*?)^ *```$", _doc(cls), re.DOTALL | re.MULTILINE)
    assert examples
    if any("langchain_classic" in example for example in examples):
        pytest.importorskip("langchain_classic")  # not on Python 3.10
    names = granted(cls.__module__)
    monkeypatch.setattr(Settings, "_llm", names["llm"])
    names |= OF_HOSTS | _made_before(names)
    for example in examples:
        code = compile(
            inspect.cleandoc(example), cls.__name__, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        if inspect.isawaitable(done := eval(code, names)):
            await done


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.__name__)
def test_guides_show_how_they_are_made(guide: type) -> None:
    _, _, example = _doc(guide).partition("Instantiate:\n    ```python\n")
    code, end, _ = example.partition("    ```")
    assert f"{guide.__name__}(" in code
    assert end
    ast.parse(inspect.cleandoc(code))


def _made_before(names: dict[str, Any]) -> dict[str, Any]:
    retriever = llama_index.InstructionTransformRetriever(
        names["index"], guide=instruct_embeddings.EncoderGuide()
    )
    return {
        "collection": names["client"].get_collection("tickets", embedding_function=None),
        "engine": RetrieverQueryEngine.from_args(retriever, llm=MockLLM()),
        "vector_store": names["index"].vector_store,
    }


def _doc(cls: type) -> str:
    return inspect.getdoc(cls) or ""
