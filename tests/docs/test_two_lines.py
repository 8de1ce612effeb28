"""Whoever changes two lines of the first notebook has a collection of their own adapted."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_notebooks import code, source

NOTEBOOK = ROOT / "examples" / "1-five-minutes.ipynb"
# Of a reader whose collection another model filled.
MINE = {
    "vectorstore": 'vectorstore = Chroma("tickets", my_embeddings, persist_directory="my-chroma")',
    "instructions": 'instructions = ["Is it angry or friendly?", "What is broken?"]',
}


@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
@pytest.mark.usefixtures("tiny_models")
def test_two_lines_lead_to_an_adapted_collection_of_ones_own(
    granted: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("IPython", reason="its releases ask for Python 3.11")
    names = granted("README.md")
    names["my_embeddings"] = names["embeddings"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Path("data").symlink_to(ROOT / "examples" / "data")
    cells = [source(cell) for cell in code(NOTEBOOK)]
    changed = [_changed(cell) for cell in cells]
    assert sum(one != other for one, other in zip(cells, changed, strict=True)) == 1
    for cell in changed:
        exec(compile(cell, NOTEBOOK.name, "exec"), names)
    assert names["vectorstore"].get(limit=1)["ids"] == ["t0"]
    assert {one.instruction for one in names["retriever"].engine.store.summaries()} == {
        "Is it angry or friendly?",
        "What is broken?",
    }
    assert (names["folder"] / "map.png").read_bytes().startswith(b"\x89PNG")


def _changed(cell: str) -> str:
    for name, line in MINE.items():
        cell, places = re.subn(rf"^{name} = .+$", line, cell, flags=re.MULTILINE)
        assert places <= 1
    return cell
