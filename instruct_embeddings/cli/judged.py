"""Judged questions from files: JSONL, CSV, or a folder as of BEIR."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from instruct_embeddings._records import read_records, row_errors
from instruct_embeddings.errors import DataError

_LINE = '{"query": "it ate my photos", "relevant": ["ticket-17", "ticket-3"]}'
_QUERIES = "queries.jsonl"
_QRELS = ("qrels.tsv", "qrels/test.tsv")
_FOLDER = f"A folder holds {_QUERIES} and {_QRELS[0]} (or {_QRELS[1]})"


@dataclass
class JudgedQuestions:
    """What a file asks.

    Attributes:
        texts: What is asked, by id; ids of lines are their numbers.
        grades: How relevant each row is, by question and id.
        instructions: Of questions that bring their own.
    """

    texts: dict[str, str] = field(default_factory=dict)
    grades: dict[str, dict[str, float]] = field(default_factory=dict)
    instructions: dict[str, str] = field(default_factory=dict)


def read_questions(path: Path) -> JudgedQuestions:
    """Questions of a JSONL or CSV file, or of a folder with queries.jsonl and qrels.tsv.

    Raises:
        DataError: Something cannot be read; the message names file and line.
    """
    found = _folder(path) if path.is_dir() else _lines(path)
    if not any(found.grades.values()):
        raise DataError(
            f"{path} holds {len(found.texts)} queries and no relevant id. At least one judged "
            f"question is needed: each line is like {_LINE}. {_FOLDER}. Add the ids that answer."
        )
    return found


def _lines(file: Path) -> JudgedQuestions:
    found = JudgedQuestions()

    def add(row: Mapping[str, object], line: int) -> None:
        key = str(line)
        found.texts[key] = _text(row, "query")
        found.grades[key] = _relevant(row)
        if row.get("instruction") is not None:
            found.instructions[key] = _text(row, "instruction")

    _each(file, f"Each line is like {_LINE}; an instruction may stand beside", add)
    return found


def _folder(folder: Path) -> JudgedQuestions:
    queries = folder / _QUERIES
    qrels = next((folder / name for name in _QRELS if (folder / name).is_file()), None)
    if not queries.is_file() or qrels is None:
        there = ", ".join(sorted(one.name for one in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{folder} holds {there}. {_FOLDER}. Name such a folder, or a JSONL file whose lines "
            f"are like {_LINE}."
        )
    found = JudgedQuestions()

    def ask(row: Mapping[str, object], line: int) -> None:
        del line
        key = str(row.get("_id", row.get("id", "")))
        if not key or key in found.texts:
            raise ValueError(f"the id {key!r} is {'used twice' if key else 'missing'}")
        found.texts[key] = _text(row, "text")

    def judge(row: Mapping[str, object], line: int) -> None:
        del line
        key, row_id, score = (_text(row, name) for name in ("query-id", "corpus-id", "score"))
        if key not in found.texts:
            raise ValueError(f"the query {key!r:.60} is not in {_QUERIES}")
        found.grades.setdefault(key, {})[row_id] = float(score)

    _each(queries, 'Each line is like {"_id": "q1", "text": "it ate my photos"}', ask)
    _each(qrels, "The first line is query-id, corpus-id, score, separated by tabs", judge)
    return found


def _each(file: Path, form: str, add: Callable[[Mapping[str, object], int], None]) -> None:
    for row, values in read_records(file, text_key="query", form=form):
        with row_errors(row, form):
            add(values, row.line)


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key!r} is {value!r:.60}, not a text (keys: {sorted(row)})")
    return value


def _relevant(row: Mapping[str, object]) -> dict[str, float]:
    value = row.get("relevant")
    if isinstance(value, Mapping) and all(type(grade) in (int, float) for grade in value.values()):
        return {str(key): float(grade) for key, grade in value.items()}
    if isinstance(value, list) and all(type(one) in (str, int) for one in value):
        return {str(one): 1.0 for one in value}
    if type(value) in (str, int) and str(value).strip():
        return {str(value): 1.0}
    raise ValueError(f"'relevant' is {value!r:.60}, not an id, a list of ids, nor ids with grades")
