"""The API reference shows everything that is exported, and nothing that does not exist."""

import ast
import importlib
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

import chroma_instruct_embeddings
import instruct_embeddings
import langchain_instruct_embeddings
import llama_index_instruct_embeddings
import milvus_instruct_embeddings
import postgres_instruct_embeddings
import qdrant_instruct_embeddings
from instruct_embeddings import evaluation, training
from tests.docs.pages import ROOT

SHOWN = [
    path
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
# Errors stand on one page as a module.
WHOLE = "instruct_embeddings.errors"
PACKAGES = (
    chroma_instruct_embeddings,
    evaluation,
    instruct_embeddings,
    langchain_instruct_embeddings,
    llama_index_instruct_embeddings,
    milvus_instruct_embeddings,
    postgres_instruct_embeddings,
    qdrant_instruct_embeddings,
    training,
)
# Not there on Python 3.10.
RAY = ("ray_instruct_embeddings",) if find_spec("ray") else ()


@pytest.mark.parametrize("package", [*(one.__name__ for one in PACKAGES), *RAY])
def test_all_that_is_exported_is_shown(package: str) -> None:
    exported = set(importlib.import_module(package).__all__) - {"__version__"}
    shown = {path.rpartition(".")[2] for path in SHOWN}
    in_modules = set(vars(importlib.import_module(WHOLE)))
    assert exported - shown - in_modules == set()


@pytest.mark.parametrize("path", [one for one in SHOWN if RAY or "ray_" not in one])
def test_what_is_shown_exists(path: str) -> None:
    if source := _source(path):
        # A module is only read: what it imports may not be there, such as mteb on Python 3.10.
        assert ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
        return
    module, _, name = path.rpartition(".")
    shown = getattr(importlib.import_module(module), name)
    assert shown.__doc__


def _source(path: str) -> Path | None:
    """The file of a module; None for what stands in one."""
    with suppress(ModuleNotFoundError):  # what is asked for lies in a module, not in a package
        spec = find_spec(path)
        return Path(spec.origin) if spec and spec.origin else None
    return None
