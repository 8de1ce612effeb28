from pathlib import Path

import pytest

from instruct_embeddings.cli.page.asked import Asked, read_pasted, read_uploaded, read_where
from instruct_embeddings.errors import ConfigError, DataError


def asked(query: str = "q", first: str = "", second: str = "", share: float = 0.25) -> Asked:
    return Asked.of(query, first, second, share, "", 5, 0.5, False)


def test_weights_of_two_instructions_add_up_to_one() -> None:
    both = asked(first="What is it about?", second="Only cats.")
    assert both.weights == {"What is it about?": 0.75, "Only cats.": 0.25}
    assert both.instruction == both.weights


def test_one_instruction_stands_alone_in_either_field() -> None:
    assert asked(first="What is it about?").instruction == "What is it about?"
    assert asked(second=" Only cats. ").instruction == "Only cats."
    assert asked().instruction is None


def test_an_empty_query_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the query is ' '"):
        asked(query=" ")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("area = billing", {"area": "billing"}),
        (
            "area = billing\nyear=2020\nopen = true",
            {"area": "billing", "year": 2020, "open": True},
        ),
        ('{"year": {"$gte": 2020}}', {"year": {"$gte": 2020}}),
    ],
)
def test_filters_are_json_or_lines(text: str, found: object) -> None:
    assert read_where(text) == found


@pytest.mark.parametrize(
    "text", ["billing", "= billing", "area =", '{"area": ', '{"a": {"$x": 1}}']
)
def test_a_malformed_filter_is_an_error_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="filter"):
        read_where(text)


def test_pasted_questions_name_their_answers() -> None:
    found = read_pasted("how | why? | t1, t2\n\nwhere\tt3\n")
    assert found.texts == {"1": "how | why?", "3": "where"}
    assert found.grades == {"1": {"t1": 1.0, "t2": 1.0}, "3": {"t3": 1.0}}


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".jsonl", '{"query": "where", "relevant": "t3"}'),
        (".NDJSON", '{"query": "where", "relevant": ["t3"]}'),
        (".csv", "query,relevant\nwhere,t3"),
        (".tsv", "query\trelevant\nwhere\tt3"),
        (".txt", "where | t3"),
    ],
)
def test_files_are_read_by_their_ending(tmp_path: Path, ending: str, text: str) -> None:
    file = tmp_path / f"questions{ending}"
    file.write_text(text, "utf-8")
    found = read_uploaded(file)
    assert list(found.texts.values()) == ["where"]
    assert list(found.grades.values()) == [{"t3": 1.0}]


@pytest.mark.parametrize("text", ["", "  \n", "no answer", "question |", "| t1", "a | b\nc"])
def test_questions_without_answers_are_an_error(text: str) -> None:
    with pytest.raises(DataError, match=r"it ate my photos \| ticket-17"):
        read_pasted(text)
