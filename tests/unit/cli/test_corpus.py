import json
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.cli.demo_corpus import (
    TICKET_QUESTIONS,
    Aspect,
    read_corpus,
    sample_corpus,
)
from instruct_embeddings.errors import DataError


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    file = path / "my texts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def packages(count: int = 40) -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{i}",
            "text": f"Package {i} does it. More words follow.",
            "section": ["games", "science"][i % 2],
            "version": f"1.{i}",
            "tags": {"interface": ["graphical", "x11"] if i % 4 else ["text"]},
        }
        for i in range(count)
    ]


def test_the_sample_corpus_is_found_and_has_three_aspects() -> None:
    corpus = read_corpus(None, None, [])
    assert len(corpus.records) == 480
    assert [aspect.key for aspect in corpus.aspects] == ["area", "problem", "tone"]
    assert sample_corpus().name == "tickets.jsonl"


def test_the_labels_of_the_written_questions_exist_in_the_sample_corpus() -> None:
    records = read_corpus(None, None, []).records
    for question in TICKET_QUESTIONS:
        for key, label in question.metadata.items():
            assert label in {record.metadata[key] for record in records}


def test_label_keys_default_to_keys_with_few_values(tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path, packages(60)), None, [])
    assert [aspect.key for aspect in corpus.aspects] == ["section", "tags.interface"]
    assert corpus.aspects[1].instruction == "What is its interface?"
    assert corpus.name.startswith("demo-my-texts-")


def test_questions_are_held_out_of_the_rows(tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path, packages()), None, ["section"])
    texts = {record.text for record in corpus.records}
    assert (len(corpus.records), len(corpus.questions)) == (37, 3)
    assert not texts & {question.text for question in corpus.questions}


def test_limit_and_content_decide_the_name(tmp_path: Path) -> None:
    file = write(tmp_path, packages())
    assert read_corpus(file, None, ["section"]).name == read_corpus(file, 40, ["section"]).name
    assert read_corpus(file, None, ["section"]).name != read_corpus(file, 30, ["section"]).name


def test_an_unknown_label_key_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'colour'.*'section', 'tags\.interface', 'version'"):
        read_corpus(write(tmp_path, packages()), None, ["colour"])


def test_texts_without_labels_are_refused(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "number": f"{i}"} for i in range(60)]
    with pytest.raises(DataError, match=r"no labels under any key.*\['number'\]"):
        read_corpus(write(tmp_path, rows), None, [])


def test_several_labels_of_a_row_are_split() -> None:
    aspect = Aspect("tags", "?")
    assert aspect.labels({"tags": "a|b"}) == {"a", "b"}
    assert aspect.labels({}) == frozenset()
