import json
from pathlib import Path

import pytest

from instruct_embeddings.cli.records import Reader, Record, flatten
from instruct_embeddings.errors import DataError


def write(path: Path, name: str, content: str | bytes) -> Path:
    file = path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_jsonl_rows_keep_their_id_and_their_metadata(tmp_path: Path) -> None:
    file = write(
        tmp_path, "a.jsonl", '{"id": 7, "text": "one", "x": 1}\n\n{"id": "b", "text": "2"}'
    )
    assert list(Reader().read([file])) == [Record("7", "one", {"x": 1}), Record("b", "2", {})]
    assert Reader().count([file]) == 2


def test_csv_columns_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", '\ufeffkey,body,mood\n1,"two\nlines",sad\n2,plain,\n')
    records = list(Reader("body", "key").read([file]))
    assert records == [Record("1", "two\nlines", {"mood": "sad"}), Record("2", "plain", {})]


def test_rows_without_an_id_get_one_of_content_and_line(tmp_path: Path) -> None:
    one = write(tmp_path, "a.jsonl", '{"text": "x"}\n{"text": "x"}\n')
    two = write(tmp_path, "b.jsonl", '{"text": "x"}\n{"text": "y"}\n')
    first = [record.id for record in Reader().read([one])]
    assert first == [record.id for record in Reader().read([one])]
    assert [name.rpartition("-")[2] for name in first] == ["1", "2"]
    second = [record.id for record in Reader().read([two])]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False]


BAD = {
    "not json": ('{"text": ', "not JSON"),
    "no text": ('{"body": "x"}', r"no text under the key 'text' \(the other keys: \['body'\]\)"),
    "blank text": ('{"text": " "}', "no text under the key 'text'"),
    "text is no string": ('{"text": 5}', "no text under the key 'text'"),
    "odd id": ('{"id": [1], "text": "x"}', r"the id \[1\] is neither"),
    "lone surrogate": ('{"text": "\\ud800"}', "not UTF-8"),
    "same id": (
        '{"id": "good", "text": "other"}',
        r"the id 'good' was used for another text, at .*:1",
    ),
}


@pytest.mark.parametrize(("line", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    file = write(tmp_path, "a.jsonl", f'{{"id": "good", "text": "x"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl:2: {message}"):
        list(Reader().read([file]))


def test_bytes_that_are_not_utf8_spoil_one_line_only(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", b'{"text": "\xff"}\n{"text": "fine"}\n')
    reader = Reader(skip_bad=True)
    assert [record.text for record in reader.read([file])] == ["fine"]
    assert reader.bad == [f"{file}:1: not UTF-8 text (byte 10)"]


def test_a_csv_row_with_too_few_cells_is_bad(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "id,text\n1\n2,x\n")
    reader = Reader(skip_bad=True)
    assert [record.id for record in reader.read([file])] == ["2"]
    assert reader.bad == [f"{file}:2: 1 cells, but the header names 2"]


def test_messages_about_a_row_stay_short(tmp_path: Path) -> None:
    keys = {"x" * 50 + str(number): 1 for number in range(1000)}
    for row in (
        keys,
        {"x" * 9999: 1},
        {"text": "a", "id": list(keys)},
        {"text": "a", "#" + "x" * 9999: 1},
    ):
        file = tmp_path / "a.jsonl"
        file.write_text(json.dumps(row))
        with pytest.raises(DataError) as raised:
            list(Reader().read([file]))
        assert len(str(raised.value)) < 1500


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


def test_a_missing_text_column_is_named_beside_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, "rows.csv", "id;body\n1;x\n")
    with pytest.raises(DataError, match=r"rows.csv:2: no text under the key 'text' .*'body', 'id'"):
        list(Reader().read([file]))
