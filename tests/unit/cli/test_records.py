import json
from pathlib import Path

import pytest

from instruct_embeddings._reading import LONGEST_LINE
from instruct_embeddings.cli.records import Reader, Record
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


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    file = write(tmp_path, "a.tsv", "id\ttext\n1\ta, b\n")
    assert list(Reader().read([file])) == [Record("1", "a, b", {})]


def test_paragraphs_of_a_text_file_are_rows_with_source_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "a.txt", "\nfirst\nstill first\n\n\nsecond")
    records = list(Reader("body").read([file]))
    assert [(r.text, r.metadata) for r in records] == [
        ("first still first", {"source": "a.txt", "line": 2}),
        ("second", {"source": "a.txt", "line": 6}),
    ]


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
    "no object": ("[1]", "a JSON object is expected, got list"),
    "nan": ('{"text": "x", "n": NaN}', "NaN is not JSON"),
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
    assert reader.bad == [f"{file}:1: not UTF-8 text"]


def test_a_csv_row_with_too_few_cells_is_bad(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "id,text\n1\n2,x\n")
    reader = Reader(skip_bad=True)
    assert [record.id for record in reader.read([file])] == ["2"]
    assert reader.bad == [f"{file}:2: 1 cells, but the header names 2"]


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    file = write(tmp_path, "a.pdf", "x")
    with pytest.raises(DataError, match=r"unknown ending '\.pdf'; known are \.jsonl, \.ndjson"):
        Reader().count([file])


def test_a_file_that_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Reader().count([tmp_path / "none.jsonl"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_longer_than_any_row_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with file.open("wb") as stream:
        stream.truncate(LONGEST_LINE * 3)  # a hole without a line break: no space is taken
    with pytest.raises(DataError, match=r"line 1 is longer than 8,388,608.*Split it"):
        list(Reader().read([file]))


def test_a_paragraph_longer_than_any_is_not_put_together(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(("x" * 99 + "\n") * (LONGEST_LINE // 100 + 2))
    with pytest.raises(DataError, match="the paragraph at line 1 is too long"):
        list(Reader().read([file]))


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
