"""The README shows both hosts, and pages quote the figures of the kept results."""

import re
from pathlib import Path

import pytest

from benchmarks import growing, report
from tests.docs.pages import ROOT


def test_the_readme_shows_both_hosts() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^## (.+)\n\n```python$", text, re.MULTILINE)
    assert {"LangChain", "LlamaIndex"} <= set(shown)


@pytest.mark.parametrize(
    "file", [report.PAGE, report.README, report.CARD, growing.PAGE], ids=lambda f: f.name
)
def test_pages_quote_what_was_measured(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == report.pages()[file]
