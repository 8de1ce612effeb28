from typing import Any

import numpy as np
import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides import LabelGuide
from instruct_embeddings.guides.labels import MOST_LABELS, labels_of
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
    for empty in ({}, {"a": None}, {"a": [], "b": " ", "c": float("nan"), "d": [None]}):
        with pytest.raises(GuideError, match=r"got no labels for \d ids"):
            LabelGuide(empty)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (1, {"1"}),
        (0, {"0"}),
        (True, {"True"}),
        (2.5, {"2.5"}),
        (None, set()),
        (float("nan"), set()),
        (" red ", {"red"}),
        ("", set()),
        ([1, None, "a", ""], {"1", "a"}),
        (("a", 2), {"a", "2"}),
        ({"a", "b"}, {"a", "b"}),
        (np.int64(3), {"3"}),
        (np.float32("nan"), set()),
        (np.array(["a", "b"]), {"a", "b"}),
        ("x" * 1001, set()),
        ([str(number) for number in range(MOST_LABELS + 1)], set()),
    ],
)
def test_what_a_label_is(value: Any, labels: set[str]) -> None:
    guide = LabelGuide({"a": value, "b": "other"})
    [found, _] = guide.judge("What?", Rows(ids=("a", "b"))).rows
    assert found == labels == labels_of(value)
    assert guide.ids() == (["a", "b"] if labels else ["b"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({1: "red"}, r"the id 1, which is no text.*Pass \{str\(id\): label\}"),
        ({None: "red"}, "the id None, which is no text"),
        ({"a": {"red": 1}}, r"got \{'red': 1\} for the id 'a'. A label is a text or a number"),
        ({"a": b"red"}, "got b'red' for the id 'a'"),
        ({"a": [["red"]]}, "for the id 'a'. A label is a text"),
        ({"a": object()}, "for the id 'a'. A label is a text"),
        (["red"], r"got \['red'\], and a mapping of ids to labels is wanted"),
        ("red", "got 'red', and a mapping"),
        (None, "got None, and a mapping"),
    ],
)
def test_what_is_no_label_is_said(labels: Any, message: str) -> None:
    with pytest.raises(GuideError, match=message):
        LabelGuide(labels)


def test_marks_within_labels_and_ids_do_not_make_keys_equal() -> None:
    pairs: list[tuple[Any, Any]] = [
        ({"a": ["b", "c"]}, {"a": "b\x1fc"}),
        ({"a": "b", "c": "d"}, {"a": "b\x1ec\x1fd"}),
        ({"a\x1fb": "c"}, {"a": ["b", "c"]}),
    ]
    for one, other in pairs:
        assert LabelGuide(one).key != LabelGuide(other).key
    assert LabelGuide({"a": "\ud800"}).key.startswith("labels:")


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
