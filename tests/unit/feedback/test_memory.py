"""Judged questions on disk: bounded, deletable, and never a cause of trouble."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.feedback.memory import FILE, JudgedQuestion, JudgementMemory, Scope
from instruct_embeddings.protocols import CollectionInfo

INFO = CollectionInfo("toys", "id-1", 2, "cosine")
FIX = Scope.of(INFO, "Find the fix.", "judge")


def question(text: str, relevance: float = 1.0) -> JudgedQuestion:
    vector = np.array([0.6, 0.8], dtype=np.float32)
    return JudgedQuestion(text, vector, ("a", "b"), np.array([relevance, 0.0], dtype=np.float32))


def test_what_was_judged_comes_back_in_another_process(tmp_path: Path) -> None:
    assert JudgementMemory(tmp_path).add(FIX, question("one")) == 1
    assert JudgementMemory(tmp_path).add(FIX, question("two", 0.25)) == 2
    first, second = JudgementMemory(tmp_path).read(FIX)
    assert (first.query, second.query, first.ids) == ("one", "two", ("a", "b"))
    np.testing.assert_array_equal(first.vector, np.float32([0.6, 0.8]))
    np.testing.assert_array_equal(second.relevance, np.float32([0.25, 0]))


def test_the_later_verdict_about_a_question_holds(tmp_path: Path) -> None:
    memory = JudgementMemory(tmp_path)
    memory.add(FIX, question("one", 1.0))
    assert memory.add(FIX, question("one", 0.5)) == 1
    assert memory.read(FIX)[0].relevance[0] == 0.5


def test_scopes_are_apart(tmp_path: Path) -> None:
    memory = JudgementMemory(tmp_path)
    others = [
        Scope.of(INFO, "Find the cause.", "judge"),
        Scope.of(INFO, "Find the fix.", "another judge"),
        Scope.of(CollectionInfo("toys", "id-2", 2, "cosine"), "Find the fix.", "judge"),
    ]
    memory.add(FIX, question("one"))
    assert [memory.count(scope) for scope in others] == [0, 0, 0]
    assert memory.count(Scope.of(INFO, "  find the FIX", "judge")) == 1


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    memory = JudgementMemory(tmp_path, limit=3)
    for number in range(20):
        memory.add(FIX, question(str(number)))
    assert 3 <= len(memory) <= 6
    assert memory.read(FIX)[-1].query == "19"
    assert "0" not in [one.query for one in memory.read(FIX)]


def test_it_can_be_deleted_by_instruction_or_as_a_whole(tmp_path: Path) -> None:
    memory = JudgementMemory(tmp_path)
    memory.add(FIX, question("one"))
    memory.add(Scope.of(INFO, "Find the cause.", "judge"), question("one"))
    assert memory.forget(instruction="find the fix") == 1
    assert (memory.count(FIX), len(memory)) == (0, 1)
    assert memory.forget() == 1
    assert len(memory) == 0


def test_damaged_rows_are_left_out(tmp_path: Path) -> None:
    memory = JudgementMemory(tmp_path)
    for name in ("good", "ids", "short", "nan"):
        memory.add(FIX, question(name))
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE questions SET ids = '{' WHERE query = 'ids'")
        connection.execute("UPDATE questions SET relevance = x'00' WHERE query = 'short'")
        connection.execute("UPDATE questions SET vector = x'0000c07f' WHERE query = 'nan'")
    assert [one.query for one in memory.read(FIX)] == ["good"]


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 9])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(GuideError, match="cannot be used"):
        JudgementMemory(tmp_path).add(FIX, question("one"))
    assert (tmp_path / FILE).read_bytes() == content


def test_a_table_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE questions (query TEXT)")
    with pytest.raises(GuideError, match="is no memory of judgements"):
        JudgementMemory(tmp_path).read(FIX)


@pytest.mark.parametrize("limit", [0, -1, 1.5, None])
def test_a_limit_out_of_range_is_refused(tmp_path: Path, limit: object) -> None:
    with pytest.raises(ConfigError, match="limit"):
        JudgementMemory(tmp_path, limit=limit)  # type: ignore[arg-type]
