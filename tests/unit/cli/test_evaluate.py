import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.cli.evaluate import read_questions
from instruct_embeddings.errors import DataError
from tests.unit.cli.conftest import ANIMALS, MOODS, Run

At = Callable[..., list[str]]
QUESTION = "Which animal is it?"


def rows_of(animal: str) -> list[str]:
    return [f"{animal}-{mood}-{number}" for mood in MOODS for number in range(12)]


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Nine questions in which the mood is louder than the animal that is asked for."""
    lines = [
        {"query": f"{mood} {mood} {animal} house {number}", "relevant": rows_of(animal)}
        for animal in ANIMALS
        for mood, number in (("sad", 1), ("happy", 2), ("sad", 3))
    ]
    return written(tmp_path / "questions.jsonl", lines)


def written(file: Path, lines: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_it_shows_generic_beside_adapted_and_a_verdict(
    run: Run, farm: Path, at: At, animals: Path
) -> None:
    ran = run("evaluate", animals, *at(farm), "-i", QUESTION)
    assert ran.code == 0
    lines = ran.stdout.splitlines()
    assert lines[0] == f'"{QUESTION}"'
    assert [line.split()[0] for line in lines[2:7]] == ["generic", "0.25", "0.5", "0.75", "1"]
    assert lines[-1].startswith("Use blend=")


def test_json_holds_everything(run: Run, farm: Path, at: At, animals: Path) -> None:
    call = ["evaluate", animals, *at(farm), "-i", QUESTION, "--k", 12, "--blend", 1, "--exact"]
    found = run(*call, "--json").json
    assert (found["questions"], found["left_out"], found["k"]) == (9, 0, 12)
    generic, adapted = found["rankings"]
    assert generic["ndcg"] < 1.0
    assert (adapted["blend"], adapted["ndcg"], adapted["recall"]) == (1.0, 1.0, 0.5)
    assert adapted["ndcg_gain"]["p_value"] <= 0.05
    assert found["blend"] == 1.0
    assert found["verdict"].startswith("Use blend=1: on 9 judged questions")


def test_a_line_may_bring_its_instruction(run: Run, farm: Path, at: At, tmp_path: Path) -> None:
    line = {"query": "a dog", "relevant": ["dog-sad-1", "gone"], "instruction": QUESTION}
    file = written(tmp_path / "one.jsonl", [line, {**line, "relevant": ["gone"]}])
    found = run("evaluate", file, *at(farm), "--json").json
    assert found["instructions"] == [QUESTION]
    assert (found["questions"], found["left_out"], found["missing"]) == (1, 1, 2)


def test_a_line_may_name_one_id(tmp_path: Path) -> None:
    lines = [{"query": "a dog", "relevant": "dog-sad-1"}, {"query": "seven", "relevant": 7}]
    found = read_questions(written(tmp_path / "one.jsonl", lines))
    assert found.grades == {"1": {"dog-sad-1": 1.0}, "2": {"7": 1.0}}
    table = tmp_path / "one.csv"
    table.write_text("query;relevant\na dog;dog-sad-1\n", encoding="utf-8")
    assert list(read_questions(table).grades.values()) == [{"dog-sad-1": 1.0}]


@pytest.mark.parametrize("place", ["qrels.tsv", "qrels/test.tsv"])
def test_a_folder_as_of_beir(run: Run, farm: Path, at: At, tmp_path: Path, place: str) -> None:
    written(
        tmp_path / "queries.jsonl",
        [{"_id": "q1", "text": "a dog"}, {"_id": "q2", "text": "not judged"}],
    )
    qrels = tmp_path / place
    qrels.parent.mkdir(exist_ok=True)
    qrels.write_text(
        "query-id\tcorpus-id\tscore\nq1\tdog-sad-1\t2\nq1\tcat-sad-1\t0\n", encoding="utf-8"
    )
    assert read_questions(tmp_path).grades == {"q1": {"dog-sad-1": 2.0, "cat-sad-1": 0.0}}
    assert run("evaluate", tmp_path, *at(farm), "-i", QUESTION, "--json").json["questions"] == 1


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ({"relevant": ["a"]}, "'query' is None, not a text"),
            ({"query": "a", "relevant": " "}, "'relevant' is ' ', not an id, a list of ids"),
            ({"query": "a", "relevant": True}, "not an id"),
            ({"query": "a", "relevant": {"cat": "yes"}}, "nor ids with grades"),
            ({"query": "a", "relevant": ["b"], "instruction": 3}, "'instruction' is 3"),
            (["a"], "a JSON object is expected"),
        ],
    )
    def test_a_line_that_cannot_be_read(self, tmp_path: Path, line: Any, problem: str) -> None:
        file = written(tmp_path / "bad.jsonl", [line])
        with pytest.raises(DataError, match=rf"bad.jsonl:1: .*{problem}.* Each line is like"):
            read_questions(file)

    def test_no_judged_question(self, tmp_path: Path) -> None:
        file = written(tmp_path / "none.jsonl", [{"query": "a", "relevant": []}])
        with pytest.raises(DataError, match="1 queries and no relevant id"):
            read_questions(file)

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(DataError, match=r"holds notes.txt\. A folder holds queries.jsonl and"):
            read_questions(tmp_path)

    @pytest.mark.parametrize(
        ("queries", "row", "problem"),
        [
            ([{"_id": "q1", "text": "a"}], "q2\ta\t1", "'q2' is not in queries.jsonl"),
            ([{"_id": "q1", "text": "a"}], "q1\ta\tmuch", "could not convert"),
            ([{"_id": "q1", "text": "a"}] * 2, "q1\ta\t1", "'q1' is used twice"),
            ([{"text": "a"}], "q1\ta\t1", "'' is missing"),
        ],
    )
    def test_a_folder_that_does_not_fit_together(
        self, tmp_path: Path, queries: list[Any], row: str, problem: str
    ) -> None:
        written(tmp_path / "queries.jsonl", queries)
        (tmp_path / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{row}\n", "utf-8")
        with pytest.raises(DataError, match=problem):
            read_questions(tmp_path)

    def test_no_instruction(self, run: Run, farm: Path, at: At, animals: Path) -> None:
        ran = run("evaluate", animals, *at(farm))
        assert ran.code == 1
        assert "9 of 9 questions have no instruction" in ran.stderr

    def test_an_instruction_that_is_not_fitted(
        self, run: Run, farm: Path, at: At, animals: Path
    ) -> None:
        ran = run("evaluate", animals, *at(farm), "-i", "What mood?")
        assert ran.code == 1
        assert "Fit one with: instruct-embeddings adapt" in ran.stderr

    def test_ids_of_another_collection(self, run: Run, farm: Path, at: At, tmp_path: Path) -> None:
        file = written(tmp_path / "foreign.jsonl", [{"query": "a", "relevant": ["x-1"]}])
        ran = run("evaluate", file, *at(farm), "-i", QUESTION)
        assert ran.code == 1
        assert "'x-1' for example are not" in ran.stderr
