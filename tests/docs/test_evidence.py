"""The page of evidence shows the kept results, and no page quotes a figure that none holds.

Figures are numbers with a decimal point, and numbers with a unit of what is measured. Outside the
parts that are made from results, a figure needs one of two things: its paragraph names the command
that measured it, and what is made from that command's results prints it; or it stands in `GIVEN`,
with what it is.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import environment, evidence, report
from benchmarks.evidence_plots import digest, pictures
from tests.docs.pages import PAGES, ROOT, name_of

# Numbers that were chosen, not measured.
GIVEN: Mapping[str, Mapping[str, str]] = {
    "docs/evaluation.md": {
        "95 %": "level of the intervals",
        "0.5": "triplets by chance",
    },
    "docs/guides.md": {"0.01": "gain at which the sample of the encoder grows"},
    "docs/how-to/production.md": {
        "120 s": "default of --timeout",
        "30 seconds": "timeout of the example",
    },
    "docs/how-it-works.md": {
        "1.5": "strength of the folded query",
        "0.005": "precision taken for equal",
        "30 %": "labelled rows below which more are read",
        "25 %": "spread of lengths that an index allows",
    },
}
_GENERATED = re.compile(r"<!-- figures -->.*?<!-- end of figures -->", re.DOTALL)
_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# Links, code in a line, and numbers of versions, papers and sections.
_NO_FIGURES = re.compile(
    r"\]\([^)]*\)|`[^`]*`|## \[[\d.]+\]|\b(?:Python|arXiv|section|version|Apache|before)[ -]?[\d.]+"
)
_UNIT = r"(?: ?(?:%|ms\b|s\b|seconds?\b|minutes?\b|hours?\b|times\b|x\b|[KMG]B\b))"
_FIGURE = re.compile(rf"(?<![\w.,])(?:\d[\d,]*)?\.\d+{_UNIT}?|(?<![\w.,])\d[\d,]*{_UNIT}")
_COMMAND = re.compile(r"`(?:make|python -m) ([\w.-]+)")
_MADE = (evidence.PAGE, report.PAGE)
READ = [
    page
    for page in PAGES
    if page not in _MADE and name_of(page).startswith(("README", "CHANGELOG", "docs/"))
]


def test_the_page_shows_the_results() -> None:
    assert evidence.PAGE.read_text(encoding="utf-8") == evidence.page()


def test_what_was_not_measured_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    assert "##" not in evidence.page()


@pytest.mark.parametrize("name", pictures())
def test_the_pictures_show_the_results(name: str) -> None:
    with Image.open(evidence.PAGE.parent / "images" / f"{name}.png") as picture:
        assert picture.info["Description"] == digest(pictures()[name])


@pytest.mark.parametrize("page", READ, ids=name_of)
def test_no_figure_is_quoted_that_no_result_holds(page: Path) -> None:
    given = GIVEN.get(name_of(page), {})
    quoted = list(unproved(page.read_text(encoding="utf-8"), printed()))
    assert [figure for figure in quoted if figure not in given] == []


@pytest.mark.parametrize("page", GIVEN)
def test_numbers_that_are_given_are_still_there(page: str) -> None:
    quoted = set(unproved((ROOT / page).read_text(encoding="utf-8"), {}))
    assert set(GIVEN[page]) - quoted == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Precision@10 is .733 (`make bench-a`).", []),
        ("Precision@10 is 0.734 (`make bench-a`).", ["0.734"]),
        ("Precision@10 is 0.733 (`make bench-b`).", ["0.733"]),
        ("Precision@10 is 0.733.", ["0.733"]),
        ("In 8 ms, 3 times as long (`make bench-a`).", ["3 times"]),
        ("Python 3.10, section 3.2, `k=0.5`, [page](a/0.5.md), 17 tasks, top 10.", []),
        ("```python\nx = 0.5\n```\n\nIt gains 12 %.", ["12 %"]),
    ],
)
def test_figures_without_results_are_found(text: str, found: list[str]) -> None:
    assert list(unproved(text, {"bench-a": {"0.733", "8 ms"}})) == found


def unproved(page: str, known: Mapping[str, set[str]]) -> Iterator[str]:
    """Figures of a page that no command named in their paragraph has printed."""
    for paragraph in _CODE.sub("", _GENERATED.sub("", page)).split("\n\n"):
        held: set[str] = set()
        for command in _COMMAND.findall(paragraph):
            held |= known.get(command, set())
        yield from (figure for figure in figures(paragraph) if figure not in held)


def figures(text: str) -> list[str]:
    """The figures of a text, with their units."""
    plain = _NO_FIGURES.sub(" ", text)
    return [re.sub(r"^\.", "0.", found[0]) for found in _FIGURE.finditer(plain)]


@cache
def printed() -> dict[str, set[str]]:
    """Figures by the command that measured them, as the pages made from results print them."""
    known: dict[str, set[str]] = {}
    for text in (evidence.page(), *report.pages().values()):
        for part in re.split(r"^(?=#+ |- )", text, flags=re.MULTILINE):
            for command in _COMMAND.findall(part):
                known.setdefault(command, set()).update(figures(part))
    return known
