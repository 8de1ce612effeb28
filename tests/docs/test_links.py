"""Links between files lead somewhere: in the repository here, on the site by `make docs`."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
FILES = [*PAGES, *NOTEBOOKS]
_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?: \"[^\"]*\")?\)")
_HEADING = re.compile(r"^#+ +(.+?) *#* *$", re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_links_lead_to_files_and_headings_of_the_repository(file: Path) -> None:
    assert not [target for target in _links(file) if not _leads(file, target)]


def test_links_are_found() -> None:
    assert "docs/limits.md" in _links(ROOT / "README.md")
    assert "coming-from-another-class" in _anchors(ROOT / "docs" / "encoder.md")


def _leads(file: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    place = (file.parent / path).resolve() if path else file
    there = place.exists() and place.is_relative_to(ROOT)
    return there and (not anchor or anchor in _anchors(place))


def _links(file: Path) -> list[str]:
    """Relative targets; addresses of other hosts are not looked up."""
    targets = [found["target"] for found in _LINK.finditer(_prose(file))]
    # A page that is copied to a host's site names paths of that site.
    return [target for target in targets if not re.match(r"[a-z]+:|/", target)]


@cache
def _anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(_prose(file)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in anchors:
            number += 1
        anchors.add(unique)
    return anchors


@cache
def _prose(file: Path) -> str:
    """A page without its blocks of code; of a notebook, what is written between them."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return _BLOCK.sub("", text)


def test_files_that_pages_name_are_there() -> None:
    named = re.compile(r"\b(?:tests|benchmarks|scripts)/[\w/]+\.py\b")
    pages = (ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *PAGES)
    found = {name for page in pages for name in named.findall(page.read_text(encoding="utf-8"))}
    assert {name for name in found if not (ROOT / name).is_file()} == set()
