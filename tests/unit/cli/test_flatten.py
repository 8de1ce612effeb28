import pytest

from instruct_embeddings.cli.flatten import flatten


def test_nested_keys_are_joined_by_dots_and_lists_by_bars() -> None:
    record = {"section": "games", "tags": {"interface": ["graphical", "x11"], "x": {"y": 1}}}
    assert flatten(record) == {
        "section": "games",
        "tags.interface": "graphical|x11",
        "tags.x.y": 1,
    }


def test_missing_values_are_left_out_and_scalars_keep_their_type() -> None:
    record: dict[str, object] = {"a": None, "b": [], "c": {}, "d": True, "e": 0, "f": 1.5, "g": ""}
    assert flatten(record) == {"d": True, "e": 0, "f": 1.5, "g": ""}


def test_list_items_that_are_not_text_are_written_as_json() -> None:
    assert flatten({"a": [1, "x", {"b": 2}]}) == {"a": '1|x|{"b": 2}'}


@pytest.mark.parametrize("key", ["", "#x", "$and", "chroma:document"])
def test_keys_that_chroma_refuses_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="empty or reserved by Chroma"):
        flatten({key: "x"})


@pytest.mark.parametrize("number", [2**63, 10**400, -(10**400), float("nan"), float("inf")])
def test_numbers_that_sqlite_cannot_hold_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        flatten({"n": number})
