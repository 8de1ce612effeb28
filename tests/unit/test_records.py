import json
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings._reading import LONGEST_LINE
from instruct_embeddings._records import json_lines, parse_object, read_records, read_rows
from instruct_embeddings.errors import DataError

WANTED = [{"id": "a", "text": "it ate, my photos", "area": "x;y"}, {"id": "b", "text": "slow"}]


def read(path: Path, content: str | bytes, name: str = "rows.csv") -> list[dict[str, Any]]:
    file = path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [values for _, values in read_records(file)]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('id,text,area\na,"it ate, my photos",x;y\nb,slow,\n', "rows.csv"),
        ('id;text;area\na;it ate, my photos;"x;y"\nb;slow;\n', "rows.csv"),
        ('"id";"text";"area"\r\n"a";"it ate, my photos";"x;y"\r\n"b";"slow";""\r\n', "rows.csv"),
        ("\ufeffid\ttext\tarea\na\tit ate, my photos\tx;y\nb\tslow\t\n", "rows.csv"),
        ("id|text|area\na|it ate, my photos|x;y\nb|slow|\n", "rows.csv"),
        ("id\ttext\tarea\na\tit ate, my photos\tx;y\nb\tslow\t\n", "rows.tsv"),
        ('id;text;area\na;it ate, my photos;"x;y"\nb;slow;\n', "rows.tsv"),
        ('sep=;\r\nid;text;area\r\na;it ate, my photos;"x;y"\r\nb;slow;\r\n', "rows.csv"),
    ],
)
def test_csv_is_read_with_the_delimiters_of_spreadsheets(
    tmp_path: Path, content: str, name: str
) -> None:
    assert read(tmp_path, content, name) == WANTED


def test_the_text_column_decides_where_a_header_could_be_read_in_two_ways(tmp_path: Path) -> None:
    assert read(tmp_path, "id;text;a,b,c,d\n1;x;y\n") == [{"id": "1", "text": "x", "a,b,c,d": "y"}]
    assert read(tmp_path, "id,text,a;b;c;d\n1,x,y\n") == [{"id": "1", "text": "x", "a;b;c;d": "y"}]


def test_one_column_of_texts_is_one_column(tmp_path: Path) -> None:
    assert read(tmp_path, 'text\n"slow; and dull"\n') == [{"text": "slow; and dull"}]


def test_cells_may_hold_line_breaks(tmp_path: Path) -> None:
    assert read(tmp_path, '\ufeffkey,text\n1,"two\nlines"\n') == [
        {"key": "1", "text": "two\nlines"}
    ]


def test_lines_are_counted_with_the_line_that_names_the_separator(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv:4: 3 cells, but the header names 2"):
        read(tmp_path, "sep=;\nid;text\n1;x\n2;y;z\n")


def test_each_line_of_jsonl_is_an_object(tmp_path: Path) -> None:
    text = "one\u2028two"  # ends a line of Python's `splitlines`, not one of JSONL
    content = "\ufeff" + json.dumps({"text": text}, ensure_ascii=False) + '\r\n\n{"n": [1]}'
    file = tmp_path / "a.jsonl"
    file.write_text(content, encoding="utf-8", newline="")
    assert [(row.line, row.parse()) for row in read_rows(file)] == [
        (1, {"text": text}),
        (3, {"n": [1]}),
    ]


def test_lines_are_found_again_by_their_offsets(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('\ufeff{"text": "ü"}\n\n{"text": "b"}\n', encoding="utf-8")
    data = file.read_bytes()
    found = [(number, data[at : at + len(line)] == line) for number, at, line in json_lines(file)]
    assert found == [(1, True), (3, True)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": ', "not JSON: Expecting value at column"),
        (b"[1]", "a JSON object is expected, got list"),
        (b'{"n": NaN}', "NaN is no number of JSON"),
        (b"[" * 100_000, "not JSON: the JSON is nested too deeply"),
        (b'{"text": "\xff"}', r"not UTF-8 text \(byte 10\)"),
        (b'{"text": "\\ud800"}', "not UTF-8 text: half of a surrogate pair"),
        (b'{"\\ud800": "x"}', "not UTF-8 text: half of a surrogate pair"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_object(line)


def test_paragraphs_of_a_text_file_are_rows_with_source_and_line(tmp_path: Path) -> None:
    assert read(tmp_path, "\nfirst\nstill first\n\n\nsecond", "a.txt") == [
        {"source": "a.txt", "line": 2, "text": "first still first"},
        {"source": "a.txt", "line": 6, "text": "second"},
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_bytes_that_are_not_utf8_spoil_one_row_only(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"text\n\n\xff\n\nfine\n")
    *_, bad, good = read_rows(file)
    assert (bad.line, good.parse()["text"]) == (3, "fine")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        bad.parse()


def test_keys_that_are_required_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"_id": "d1"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl:1: no 'text' .*keys \['_id', 'text'\]. A line"):
        list(read_records(file, ("_id", "text"), form='A line is like {"_id": "1", "text": "x"}'))


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown ending '\.pdf'; known are \.jsonl, \.ndjson"):
        read(tmp_path, "x", "a.pdf")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
def test_a_file_that_cannot_be_opened_is_a_data_error(tmp_path: Path, ending: str) -> None:
    link = tmp_path / f"self.{ending}"
    link.symlink_to(link)
    for file in (tmp_path / f"none.{ending}", link):
        with pytest.raises(DataError, match="cannot be read"):
            list(read_rows(file))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_longer_than_any_row_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with file.open("wb") as stream:
        stream.truncate(LONGEST_LINE * 3)  # a hole without a line break: no space is taken
    with pytest.raises(DataError, match=r"line 1 is longer than 8,388,608.*Split it"):
        list(read_rows(file))


def test_a_paragraph_longer_than_any_is_not_put_together(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(("x" * 99 + "\n") * (LONGEST_LINE // 100 + 2))
    with pytest.raises(DataError, match="the paragraph at line 1 is too long"):
        list(read_rows(file))
