"""Every Python block of the README and of the documentation runs, page by page, top to bottom."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, name_of, pages_with

FAQ = ROOT / "docs" / "faq.md"  # its blocks are mistakes, which test_errors.py makes
RUNNING = [page for page in pages_with("python") if page != FAQ]
READERS = ("README.md", "docs/encoder.md", "docs/guides.md", "docs/how-to/langchain.md")


def test_all_pages_are_found() -> None:
    assert set(READERS) <= {name_of(page) for page in RUNNING}


# Random weights teach little; what the words of the texts give away is enough to run.
@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_code_of_a_page_runs(page: Path, granted: Callable[[str], dict[str, Any]]) -> None:
    names = granted(name_of(page))
    for block in blocks(page, "python"):
        if block.why_not:
            compiled(block)
        else:
            exec(compiled(block), names)
    if "documents" in names:
        assert 0 < len(names["documents"]) <= 5
    if "nodes" in names:
        assert names["nodes"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_that_do_not_run_say_why(page: Path) -> None:
    reasons = [block.why_not for block in blocks(page, "python") if block.why_not]
    assert all(len(reason.split()) > 2 for reason in reasons)
    assert len(reasons) <= 1


def compiled(block: Block) -> Any:
    """The code, with the page and the right lines in tracebacks."""
    tree = ast.parse(block.code, block.page)
    ast.increment_lineno(tree, block.line - 1)
    return compile(tree, block.page, "exec")
