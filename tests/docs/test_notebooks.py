"""The notebooks are as their table says, and hold true outputs of a clean run."""

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
_FOLDER = re.compile(r"(?<![\w./<])/(?:home|root|tmp|usr|work|Users|var|opt)/|[A-Z]:\\")


def test_the_table_names_every_notebook() -> None:
    assert re.findall(r"\]\((\d-[\w-]+\.ipynb)\)", README) == [file.name for file in NOTEBOOKS]


def test_the_picture_of_the_readme_is_what_a_notebook_drew() -> None:
    [drawn] = [
        output["data"]["image/png"]
        for output in outputs(EXAMPLES / "5-labels-from-nobody.ipynb")
        if "image/png" in output.get("data", {})
    ]
    assert b64decode("".join(drawn)) == (ROOT / "docs" / "images" / "map.png").read_bytes()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
class TestNotebook:
    def test_it_was_run_from_top_to_bottom(self, file: Path) -> None:
        counts = [cell["execution_count"] for cell in code(file)]
        assert counts == list(range(1, len(counts) + 1))

    def test_it_shows_results_and_no_failure(self, file: Path) -> None:
        shown = [cell for cell in code(file) if cell["outputs"]]
        assert len(shown) >= len(code(file)) // 2
        kinds = {output["output_type"] for output in outputs(file)}
        assert kinds <= {"display_data", "execute_result", "stream"}
        assert not [output for output in outputs(file) if output.get("name") == "stderr"]

    def test_it_tells_nothing_of_the_machine(self, file: Path) -> None:
        for output in outputs(file):
            text = output.get("text") or output["data"].get("text/plain", "")
            assert not _FOLDER.search("".join(text))

    def test_it_says_what_it_needs_and_what_one_keeps(self, file: Path) -> None:
        first = source(notebook(file)["cells"][0])
        assert first.startswith("# ")
        assert "Needs `pip install" in first
        assert "You keep" in first

    def test_scripted_models_say_so(self, file: Path) -> None:
        whole = "\n".join(map(source, notebook(file)["cells"]))
        if "import Scripted" in whole or "import Keyword" in whole:
            assert "scripted stand-in" in whole

    def test_it_holds_no_leftovers(self, file: Path) -> None:
        assert set(notebook(file)["metadata"]) == {"kernelspec", "language_info"}
        assert not [cell for cell in notebook(file)["cells"] if cell["metadata"]]


def notebook(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code(file: Path) -> list[dict[str, Any]]:
    return [cell for cell in notebook(file)["cells"] if cell["cell_type"] == "code"]


def outputs(file: Path) -> list[dict[str, Any]]:
    return [output for cell in code(file) for output in cell["outputs"]]
