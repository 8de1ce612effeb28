"""CSV as spreadsheets write it."""

from pathlib import Path

import pytest

from instruct_embeddings.cli.records import Reader, Record
from instruct_embeddings.errors import DataError

WANTED = [Record("a", "it ate, my photos", {"area": "x;y"}), Record("b", "slow", {})]


def read(path: Path, content: str, name: str = "rows.csv") -> list[Record]:
    file = path / name
    file.write_text(content, encoding="utf-8", newline="")
    return list(Reader().read([file]))


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
def test_whatever_stands_between_the_cells(tmp_path: Path, content: str, name: str) -> None:
    assert read(tmp_path, content, name) == WANTED


def test_the_text_column_decides_where_a_header_could_be_read_in_two_ways(tmp_path: Path) -> None:
    assert read(tmp_path, "id;text;a,b,c,d\n1;x;y\n") == [Record("1", "x", {"a,b,c,d": "y"})]
    assert read(tmp_path, "id,text,a;b;c;d\n1,x,y\n") == [Record("1", "x", {"a;b;c;d": "y"})]


def test_one_column_of_texts_is_one_column(tmp_path: Path) -> None:
    [found] = read(tmp_path, 'text\n"slow; and dull"\n')
    assert found.text == "slow; and dull"


def test_a_missing_text_column_is_named_beside_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv:2: no text under the key 'text' .*'body', 'id'"):
        read(tmp_path, "id;body\n1;x\n")


def test_lines_are_counted_with_the_line_that_names_the_separator(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv:4: 3 cells, but the header names 2"):
        read(tmp_path, "sep=;\nid;text\n1;x\n2;y;z\n")
