"""Class docstrings of the adapters have the sections of their hosts, and code that compiles."""

import ast
import inspect
import re

import pytest

import chroma_instruct_embeddings as chroma
import langchain_instruct_embeddings as langchain
import llama_index_instruct_embeddings as llama_index

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
    llama_index.InstructEmbedding: (
        "Setup",
        "Key init args",
        "Instantiate",
        "Usage",
        "Async",
        "Use within a pipeline",
    ),
    llama_index.InstructionQueryBundle: ("Usage",),
    chroma.InstructEmbeddingFunction: ("Setup", "Instantiate", "Usage"),
    chroma.ChromaVectors: ("Instantiate",),
}


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_sections_stand_in_their_order(cls: type) -> None:
    found = re.findall(r"^([A-Z][\w ]+):$", _doc(cls), re.MULTILINE)
    assert [name for name in found if name in SECTIONS[cls]] == list(SECTIONS[cls])


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_examples_compile(cls: type) -> None:
    examples = re.findall(r"^ *```python\n(.*?)^ *```$", _doc(cls), re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        compile(inspect.cleandoc(example), cls.__name__, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _doc(cls: type) -> str:
    return inspect.getdoc(cls) or ""
