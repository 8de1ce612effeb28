"""Texts from elsewhere are shown, never obeyed, by whatever is printed."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from io import StringIO

import pytest
from rich.console import Console

import instruct_embeddings
from instruct_embeddings._printable import escaped, figures_table, printable
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.transform.report import FitReport

# Their texts are figures, or names that are quoted, or a path of the user's own.
_NOTHING_FOREIGN = {"Estimate", "Difference", "Cost", "Row", "Store", "Writer"}
HOSTILE = "a\x1b[2J\x9b31m\u202eb\u2066c\u2069\u200f\u2028\ud800"


@pytest.mark.parametrize(
    "character",
    [*"\x00\x07\x08\x0b\x0d\x1b\x7f\x9b\u061c\u200e\u200f\u202a\u202e\u2028\u2066\u2069\ufeff"],
    ids=lambda character: f"U+{ord(character):04X}",
)
def test_what_a_terminal_obeys_is_replaced(character: str) -> None:
    assert printable(f"a{character}b") == "a\ufffdb"


# Letters of many scripts, and the joiners that some of them and emoji need.
_WRITTEN = [
    "a\tb\nc",
    "é 中文",
    "\U0001f469\u200d\U0001f4bb",
    "\u0645\u06cc\u200c\u062e",
    "①",
]


@pytest.mark.parametrize("text", _WRITTEN, ids=ascii)
def test_what_is_written_stays(text: str) -> None:
    assert printable(text) == text


def test_json_has_the_same_content_and_obeys_nothing() -> None:
    document = {HOSTILE: [HOSTILE, "中文", "\U000e0001", 1.5]}
    written = escaped(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(written) == document
    assert printable(written) == written
    assert "中文" in written


def report() -> FitReport:
    return FitReport(
        rows=2,
        judged=2,
        label_counts={HOSTILE: 2},
        measure="precision@10",
        generic=0.5,
        folded=0.5,
        adapted=0.5,
        chosen={},
        seconds=1.0,
    )


def test_a_report_drives_no_terminal() -> None:
    for text in (str(report()), str(replace(report(), measure=HOSTILE)), f"{report()}"):
        assert "\ufffd[2J\ufffd31m\ufffdb" in text
        assert printable(text) == text
    assert printable(str(Categories("x", (HOSTILE, "other")))) == str(
        Categories("x", (HOSTILE, "other"))
    )


def test_markup_in_a_table_is_shown_by_consoles_of_users() -> None:
    page = StringIO()
    table = figures_table("[red]", ["[dim]method", "figure"], [["a[/b]", "[bold]1"]])
    Console(file=page, width=60).print(table)
    for text in ("[red]", "[dim]method", "a[/b]", "[bold]1"):
        assert text in page.getvalue()


def _classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(instruct_embeddings.__path__, "instruct_embeddings."):
        if module.name.endswith("__main__"):
            continue
        try:
            loaded = importlib.import_module(module.name)
        except ImportError:  # an extra that is not installed
            continue
        yield from (
            one
            for one in vars(loaded).values()
            if isinstance(one, type) and one.__module__ == module.name
            if "__str__" in vars(one) and not issubclass(one, Enum)
        )


def test_every_text_of_an_object_is_made_so() -> None:
    made = {one.__name__ for one in _classes() if hasattr(one.__str__, "__wrapped__")}
    others = {one.__name__ for one in _classes() if not hasattr(one.__str__, "__wrapped__")}
    assert others - _NOTHING_FOREIGN == set()
    assert {"FitReport", "Explanation", "Categories", "Evaluation", "Drift"} <= made
