from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.protocols import Guide, Rows

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
