import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides import LabelGuide
from instruct_embeddings.protocols import Guide, Rows

GUIDE = LabelGuide({"b": "red", "a": ["red", "round"]})


def test_rows_are_looked_up_by_id() -> None:
    found = GUIDE.judge("What colour?", Rows(ids=("a", "unknown", "b")))
    assert [set(row) for row in found.rows] == [{"red", "round"}, set(), {"red"}]


def test_only_labelled_rows_are_wanted() -> None:
    guide: Guide = GUIDE
    assert guide.ids() == ["a", "b"]


def test_labels_of_other_rows_only_are_an_error_that_shows_both() -> None:
    with pytest.raises(GuideError, match=r"None of the 2 .* look like \['x', 'y'\].* \['a', 'b'\]"):
        GUIDE.judge("What colour?", Rows(ids=("x", "y")))


def test_no_labels_are_refused() -> None:
    with pytest.raises(GuideError, match="got no labels"):
        LabelGuide({})


def test_the_key_is_that_of_the_labels_in_any_order() -> None:
    assert GUIDE.key == LabelGuide({"a": ("round", "red"), "b": ["red"]}).key
    others = [
        {"a": "red", "b": "red"},
        {"a": ["red", "round"]},
        {"b": ["red", "round"], "a": "red"},
    ]
    keys = {LabelGuide(other).key for other in others}
    assert len({GUIDE.key, *keys}) == 4
    assert GUIDE.key.startswith("labels:")


def test_labels_are_copied_and_not_shown() -> None:
    mine = {"a": "secret"}
    guide = LabelGuide(mine)
    mine["b"] = "later"
    assert guide.ids() == ["a"]
    assert repr(guide) == "LabelGuide(<1 rows>)"
