import json
import os
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._reading import LONGEST_LINE
from instruct_embeddings.config import normal_form
from instruct_embeddings.errors import DataError
from instruct_embeddings.training.data.files import (
    Row,
    SourceFile,
    parse_row,
)


def parse(row: Any, most: int = 100) -> Row:
    return parse_row(json.dumps(row).encode(), max_characters=most)


def test_a_row_brings_instruction_answer_and_wrong_answers() -> None:
    row = {"text": "x", "instruction": " Who? ", "answer": " Ann ", "negatives": ["Bob"], "id": 3}
    assert parse(row) == Row("x", "Who?", "Ann", ("Bob",))


def test_a_row_brings_labels_by_aspect_but_for_those_of_several_values() -> None:
    row = {"text": "x", "labels": {"a": "one", "b": "two|three", "c": "four"}, "multi": ["b", "c"]}
    assert parse(row) == Row("x", labels=(("a", "one"),))


def test_long_texts_are_cut() -> None:
    assert parse({"text": "abcdef", "labels": {"a": "b"}}, most=3).text == "abc"


def test_a_byte_order_mark_does_not_count() -> None:
    line = b'\xef\xbb\xbf{"text": "x", "labels": {"a": "b"}}\r\n'
    assert parse_row(line, max_characters=9).text == "x"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON: Expecting property name.* at column 2"),
        (b"\xff{}", r"not UTF-8 text \(byte 0\)"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "a JSON object is expected, got list"),
        (b"{}", "'text' is missing; keys"),
        (b'{"text": 3, "labels": {"a": "b"}}', "'text' must be .* found 3"),
        (b'{"text": " ", "labels": {"a": "b"}}', "'text' must be"),
        (b'{"text": "x"}', "neither 'instruction' and 'answer' nor 'labels'"),
        (b'{"text": "x", "labels": {}}', "nor 'labels' by aspect"),
        (b'{"text": "x", "labels": {"a": ""}}', "label of 'a' must be a text"),
        (b'{"text": "x", "labels": {"a": null}}', "label of 'a' must be a text.* None"),
        (b'{"text": "x", "labels": {"a": "b|c"}}', "'b|c' of 'a' has several values"),
        (b'{"text": "x", "labels": {"a": "b"}, "multi": "a"}', "'multi' must be a list"),
        (b'{"text": "x", "instruction": "", "answer": "y"}', "'instruction' must be"),
        (b'{"text": "x", "instruction": "i"}', "'answer' is missing"),
        (b'{"text": "x", "instruction": "i", "answer": "y", "negatives": "z"}', "found str"),
        (b'{"text": "x", "instruction": "i", "answer": "y", "negatives": [1]}', "found 1"),
        (
            b'{"text": "x", "instruction": "i", "answer": "y", "negatives": ["Y."]}',
            "the answer 'y'",
        ),
        (b'{"text": "x\\ud800", "labels": {"a": "b"}}', "half of a surrogate pair"),
        (b'{"text": "x", "labels": {"a": "\\ud800"}}', "half of a surrogate pair"),
        (b'{"text": "x", "instruction": "\\ud800", "answer": "y"}', "half of a surrogate pair"),
        (
            b'{"text": "x", "instruction": "i", "answer": "y", "negatives": ["\\udc00"]}',
            "half of a surrogate pair",
        ),
    ],
)
def test_lines_that_are_no_rows_say_why(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_row(line, max_characters=100)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    line = b'{"text": "\\ud83d\\ude00", "labels": {"a": "b"}}'
    assert parse_row(line, max_characters=9).text == "\U0001f600"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20), st.booleans())
def test_lines_are_read_back_by_their_places(texts: list[str], last_break: bool) -> None:
    # Unescaped: U+2028, form feeds and such stand inside lines.
    rows = [{"text": f"x{text}", "labels": {"a": "b"}} for text in texts]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path = Path(os.environ["ROWS_FOLDER"]) / "rows.jsonl"
    path.write_bytes(("\n".join(lines) + "\n" * last_break).encode())
    with closing(SourceFile(path, 99)) as file:
        found = list(file.rows())
        back = [file.row(place, length).text for _, place, length, _ in found]
    assert back == [f"x{text}"[:99] for text in texts]
    assert [number for number, *_ in found] == list(range(1, len(texts) + 1))


@pytest.fixture(autouse=True)
def rows_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWS_FOLDER", str(tmp_path_factory.mktemp("rows")))


def test_blank_lines_are_passed_over_but_numbered(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\r\n{}\r\n  \n[]")
    file = SourceFile(path, 99)
    assert [place[:3] for place in file.rows()] == [(2, 2, 4), (4, 9, 2)]
    file.close()


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl cannot be read: No such file"):
        SourceFile(tmp_path / "nowhere.jsonl", 99)
    with pytest.raises(DataError, match="cannot be read: "):
        SourceFile(tmp_path, 99)


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"one\n")
    file = SourceFile(path, 99)
    file.check()
    os.utime(path, ns=(0, 0))
    with pytest.raises(DataError, match=r"rows\.jsonl changed while training"):
        file.check()
    path.unlink()
    with pytest.raises(DataError, match="or is gone"):
        file.check()
    file.close()


def test_a_line_longer_than_any_row_stops_the_reading(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"text": "a"}\n')
        stream.truncate(LONGEST_LINE * 4)  # a hole without a line break: no space is taken
    with closing(SourceFile(file, 99)) as source:
        tracemalloc.start()
        with pytest.raises(DataError, match=r"line 2 is longer than 8,388,608.*Split it"):
            list(source.rows())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3 * LONGEST_LINE


def test_messages_about_a_line_stay_short() -> None:
    names = ", ".join(f'"{"x" * 50}{number}": 1' for number in range(1000))
    with pytest.raises(ValueError, match="'text' is missing") as raised:
        parse_row(f"{{{names}}}".encode(), max_characters=10)
    assert len(str(raised.value)) < 1000


def test_names_of_aspects_are_whole_characters_too() -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        parse_row(b'{"text": "x", "labels": {"\\ud800": "b"}}', max_characters=10)


@pytest.mark.parametrize(
    ("one", "other"), [("Yes", "yes."), (" a  b ", "A b"), ("Straße", "STRASSE"), ("so ?!", "so")]
)
def test_answers_are_the_same_but_for_case_spacing_and_end_marks(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


def test_words_and_marks_inside_count() -> None:
    assert len({normal_form(a) for a in ("1.5", "15", "yes", "yes no", "!", "?")}) == 6
