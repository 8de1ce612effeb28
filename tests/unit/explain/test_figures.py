"""Pictures are written in letters that some installed font has."""

import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager, get_data_path

from instruct_embeddings.explain import figures
from instruct_embeddings.explain.figures import find_fonts
from instruct_embeddings.explain.map import category_colours, legend_entries, picture
from tests.unit.explain.test_map import Make, make

__all__ = ["make"]  # the fixture
CHINESE = ("产品问题", "账单", "good")


@pytest.fixture
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nothing but the fonts of matplotlib is installed."""
    own = [f for f in font_manager.fontManager.ttflist if f.fname.startswith(get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def test_usual_letters_need_nothing() -> None:
    found = find_fonts(["plain text", "é ★ … “quoted” Ελληνικά"])
    assert (found.families, found.missing) == (["sans-serif"], frozenset())


def test_a_font_is_added_for_letters_that_the_usual_one_lacks(
    monkeypatch: pytest.MonkeyPatch, no_other_font: None
) -> None:
    real = figures._code_points

    def code_points(file: str) -> frozenset[int]:
        # As if the font with serifs had Chinese.
        more = {ord(letter) for letter in "产品"} if file.endswith("DejaVuSerif.ttf") else set()
        return real(file) | more

    monkeypatch.setattr(figures, "_code_points", code_points)
    found = find_fonts(["产品问"])
    assert (found.families, found.missing) == (["sans-serif", "DejaVu Serif"], frozenset("问"))
    assert found.writable("a 产品问题 b".replace("题", "问")) == "a 产品… b"


def test_chinese_names_are_numbered_where_no_font_has_them(
    make: Make, tmp_path: Path, no_other_font: None
) -> None:
    explanation = make(CHINESE, query="我的照片 are gone", instruction="问题是什么?")
    with pytest.warns(UserWarning, match="No installed font .*Noto Sans CJK") as found:
        explanation.draw(tmp_path / "map.png")
    assert not [one for one in found if "Glyph" in str(one.message)]
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match="numbers, in the order of the table"):
        figure = picture(explanation)
    texts = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
    assert texts[0] == "…?\n★ … are gone"
    assert not [text for text in texts if set(text) & set("".join(CHINESE[:2]))]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:3] == [
        "category 1 (12)",
        "category 2 (12)",
        "good (12)",
    ]
    assert [category.name for category in explanation.categories] == list(CHINESE)


@pytest.mark.parametrize(
    "names", [("한국어", "ok"), ("ไทย", "ok"), ("a\x1b[2Jb", "ok"), ("😀", "ok")]
)
def test_no_letter_becomes_a_box(
    make: Make, tmp_path: Path, no_other_font: None, names: tuple[str, ...]
) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make(names).draw(tmp_path / "map.svg")
    assert not [one for one in found if "Glyph" in str(one.message)]


def test_the_legend_of_an_explanation_keeps_its_names(make: Make) -> None:
    assert legend_entries(make(CHINESE))[0][0] == "产品问题 (12)"
    assert category_colours(make(CHINESE))[0] == "#0072B2"
