"""The API reference shows everything that is exported, and nothing that does not exist."""

import importlib
import re

import pytest

import chroma_instruct_embeddings
import instruct_embeddings
import langchain_instruct_embeddings
import llama_index_instruct_embeddings
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
    training,
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_all_that_is_exported_is_shown(package: object) -> None:
    exported = set(package.__all__) - {"__version__"}  # type: ignore[attr-defined]
    shown = {path.rpartition(".")[2] for path in SHOWN}
    in_modules = set(vars(importlib.import_module(WHOLE)))
    assert exported - shown - in_modules == set()


@pytest.mark.parametrize("path", SHOWN)
def test_what_is_shown_exists(path: str) -> None:
    if path == WHOLE:
        return
    module, _, name = path.rpartition(".")
    shown = getattr(importlib.import_module(module), name)
    assert shown.__doc__
