import json
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError, DataError, InstructionError
from instruct_embeddings.guides.chat import Cost
from instruct_embeddings.guides.llm import Categories, LabellingReport
from instruct_embeddings.guides.llm.categories import MAX_FILE_BYTES

LANGUAGES = Categories(
    "What language is it in?", ("Perl", "C"), {"Perl": "Perl 5 and Raku.", "C": ""}
)


def test_categories_read_as_one_line_each() -> None:
    assert str(LANGUAGES) == "Perl: Perl 5 and Raku.\nC"
    assert LANGUAGES.descriptions == {"Perl": "Perl 5 and Raku."}


def test_names_alone_and_names_with_descriptions_make_categories() -> None:
    assert Categories.of(["a", "b"]) == Categories(None, ("a", "b"))
    assert Categories.of({"a": "first", "b": ""}).descriptions == {"a": "first"}
    assert Categories.of(LANGUAGES) is LANGUAGES


def test_white_space_in_names_does_not_count() -> None:
    found = Categories(None, (" a\n b ", "c"), {" a\n b ": "x\ny"})
    assert found == Categories(None, ("a b", "c"), {"a b": "x y"})


def test_a_file_can_be_written_edited_and_read(tmp_path: Path) -> None:
    file = tmp_path / "languages.json"
    LANGUAGES.to_json(file)
    assert Categories.from_json(file) == LANGUAGES
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data == {
        "format_version": 1,
        "instruction": "What language is it in?",
        "categories": [
            {"name": "Perl", "description": "Perl 5 and Raku."},
            {"name": "C", "description": ""},
        ],
    }
    data["categories"] += [{"name": "日本語", "description": "neu"}]
    file.write_text(json.dumps(data), encoding="utf-8")
    assert Categories.from_json(file).names == ("Perl", "C", "日本語")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format_version": 1, "instruction": null, "categories": ["a", "b"]}',
        '{"format_version": 2, "instruction": null, "categories": []}',
        '{"format_version": 1, "instruction": null, "categories": [{"name": 3}]}',
        "[" * 100_000,
    ],
)
def test_other_files_are_refused_with_the_form_expected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json holds no categories .* Expected is"):
        Categories.from_json(file)


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="FileNotFoundError"):
        Categories.from_json(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UnicodeDecodeError"):
        Categories.from_json(tmp_path / "binary.json")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "Got 0 categories; 2 to 100"),
        (["one"], "Got 1 categories; 2 to 100"),
        ([str(i) for i in range(101)], "Got 101 categories"),
        (["a", ""], "name of a category is ''"),
        (["a", "x" * 81], "1 to 80 characters"),
        (["a", 3], "name of a category is 3"),
        (["a", "b", "A"], r"case does not count\): \['a'\]"),
        ({"a": "x" * 301, "b": ""}, "1 to 300 characters"),
        ("ab", "got one string 'ab'"),
    ],
)
def test_what_cannot_tell_texts_apart_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Categories.of(given)


def test_descriptions_need_their_category() -> None:
    with pytest.raises(ConfigError, match=r"described, not named: \['c'\]"):
        Categories(None, ("a", "b"), {"c": "x"})
    with pytest.raises(InstructionError):
        Categories(" ", ("a", "b"))


def test_the_digest_is_that_of_names_and_descriptions() -> None:
    same = Categories(None, LANGUAGES.names, LANGUAGES.descriptions)
    others = [Categories(None, ("Perl", "C")), Categories(None, ("C", "Perl"))]
    assert LANGUAGES.digest == same.digest
    assert len({LANGUAGES.digest, *(other.digest for other in others)}) == 3


def test_messages_about_a_long_name_are_short() -> None:
    with pytest.raises(ConfigError, match="of 1 to 80 characters") as raised:
        Categories(None, ("x" * 5000, "b"))
    assert len(str(raised.value)) < 300


def test_a_file_that_is_huge_nested_deeply_or_half_a_character_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "categories.json"
    for text, why in (
        ("[" * 100_000, "nested too deeply"),
        (" " * (MAX_FILE_BYTES + 1), "at most 1,048,576 are read"),
        (
            '{"format_version": 1, "instruction": null, "categories": '
            '[{"name": "\\ud800", "description": ""}, {"name": "b", "description": ""}]}',
            "UnicodeEncodeError",
        ),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=why):
            Categories.from_json(file)


def report(categories: dict[str, int]) -> LabellingReport:
    return LabellingReport(
        rows=20,
        labelled=12,
        none=3,
        refused=2,
        unparsable=1,
        unread=2,
        calls=9,
        cached=4,
        cost=Cost(9, 1200, 340),
        categories=categories,
    )


def test_a_report_reads_as_three_lines() -> None:
    assert str(report({"red": 8, "blue": 4})) == (
        "12 of 20 rows labelled; none of the categories 3, refused 2, unparsable 1, not read 2\n"
        "categories: red 8, blue 4\n"
        "cost: 9 calls, about 1,200 tokens in and 340 out (estimated); "
        "4 questions answered from the cache"
    )


def test_many_categories_are_counted() -> None:
    assert "k 1, l 1, and 2 more\n" in str(report(dict.fromkeys("abcdefghijklmn", 1)))
