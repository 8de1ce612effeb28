from typing import Any

import numpy as np
import pytest

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides import LabelGuide, MetadataGuide
from instruct_embeddings.guides.annotations import MOST_LABELS, labels_of
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
        with pytest.raises(GuideError, match=r"got no labels in .* Pass a mapping of ids"):
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
        ({1: "red"}, "for the id 1. Ids are the texts under which"),
        ({None: "red"}, "for the id None. Ids are"),
        ({"a": {"red": 1}}, r"got \{'red': 1\} for the id 'a'. .* A label is a text or a number"),
        ({"a": b"red"}, "got b'red' for the id 'a'"),
        ({"a": [["red"]]}, "for the id 'a'"),
        ({"a": object()}, "for the id 'a'"),
        (["red"], r"no labels in \['red'\]. Pass a mapping of ids to labels"),
        ("red", "no labels in 'red'. Pass a mapping"),
        (None, "no labels in None. Pass a mapping"),
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


QUESTION = "What language?"


def rows(*metadatas: dict[str, Any]) -> Rows:
    return Rows(ids=tuple(map(str, range(len(metadatas)))), metadatas=metadatas)


def labels(guide: MetadataGuide, *metadatas: dict[str, Any]) -> list[set[str]]:
    return [set(row) for row in guide.judge(QUESTION, rows(*metadatas)).rows]


def test_each_row_is_judged_by_its_value() -> None:
    found = labels(MetadataGuide("language"), {"language": "C"}, {"language": "Go", "x": 1}, {})
    assert found == [{"C"}, {"Go"}, set()]


@pytest.mark.parametrize(
    ("value", "label"), [(3, "3"), (0, "0"), (2.5, "2.5"), (True, "True"), (False, "False")]
)
def test_numbers_and_truth_values_are_labels(value: object, label: str) -> None:
    assert labels(MetadataGuide("n"), {"n": value}) == [{label}]


@pytest.mark.parametrize("value", [None, "", "  ", []])
def test_empty_values_are_not_judged(value: object) -> None:
    assert labels(MetadataGuide("n"), {"n": "x"}, {"n": value}) == [{"x"}, set()]


def test_lists_hold_several_labels() -> None:
    assert labels(MetadataGuide("n"), {"n": ["a", "b"]}, {"n": (1, None, " c ")}) == [
        {"a", "b"},
        {"1", "c"},
    ]


def test_a_separator_splits_strings() -> None:
    assert labels(MetadataGuide("n", separator="|"), {"n": "a| b ||a"}, {"n": "c"}) == [
        {"a", "b"},
        {"c"},
    ]
    assert labels(MetadataGuide("n"), {"n": "a|b"}) == [{"a|b"}]


def test_an_unknown_key_names_those_that_exist_most_frequent_first() -> None:
    sample = rows({"b": 1}, {"b": 1, "a": 2}, {"_node_content": "{}"})
    with pytest.raises(
        GuideError, match=r"None of the 3 .* 'language'. Keys that exist: 'b', 'a'\."
    ):
        MetadataGuide("language").judge(QUESTION, sample)


def test_rows_without_metadata_are_said_to_have_none() -> None:
    with pytest.raises(GuideError, match="none, the rows carry no metadata"):
        MetadataGuide("language").judge(QUESTION, rows({}, {}))


@pytest.mark.parametrize(
    "arguments", [{"metadata_key": ""}, {"metadata_key": "n", "separator": ""}]
)
def test_empty_arguments_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        MetadataGuide(**arguments)  # type: ignore[arg-type]


def test_the_key_names_all_that_the_labels_depend_on() -> None:
    guide: Guide = MetadataGuide("language")
    assert guide.key == "metadata:language"
    assert MetadataGuide("language", separator="|").key == 'metadata-split:["language", "|"]'
    assert guide.ids() is None
    assert repr(guide) == "MetadataGuide('language', separator=None)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("a:b", None)),
        (("a", ":b"), ("a:", "b")),
        (("a", "b:c"), ("a:b", "c")),
        (("a", "b"), ('["a", "b"]', None)),
        (("a", "\x1f"), ("a\x1f", None)),
    ],
)
def test_no_two_guides_share_a_key(
    one: tuple[str, str | None], other: tuple[str, str | None]
) -> None:
    keys = {MetadataGuide(key, separator=separator).key for key, separator in (one, other)}
    assert len(keys) == 2


@pytest.mark.parametrize("key", [None, 3, ["a"]])
def test_the_key_of_the_metadata_is_a_text(key: Any) -> None:
    with pytest.raises(ConfigError, match="that are texts and not empty"):
        MetadataGuide(key)
    with pytest.raises(ConfigError, match="that are texts and not empty"):
        MetadataGuide("a", separator=3)  # type: ignore[arg-type]


def test_values_that_are_no_names_are_not_judged() -> None:
    guide = MetadataGuide("tags", separator="|")
    many = "|".join(map(str, range(100_000)))
    sample = rows({"tags": "a|b"}, {"tags": many}, {"tags": "x" * 9999})
    assert [set(row) for row in guide.judge(QUESTION, sample).rows] == [{"a", "b"}, set(), set()]


def test_values_that_look_like_lists_hint_at_the_separator() -> None:
    names = ("red", "blue", "big", "old")
    tags = [f"{one}, {other}" for one in names for other in names if one != other]
    sample = Rows(tuple(map(str, range(12))), metadatas=tuple({"tags": one} for one in tags))
    with pytest.warns(UserWarning, match=r"'tags' look like lists.*12 labels.*4 when split"):
        MetadataGuide("tags").judge("?", sample)
    assert MetadataGuide("tags", separator=",").judge("?", sample).rows[0] == {"red", "blue"}
    people = tuple({"name": f"Doe, {n}"} for n in "abcdefghijkl")  # split, there are no fewer
    MetadataGuide("name").judge("?", Rows(sample.ids, metadatas=people))
