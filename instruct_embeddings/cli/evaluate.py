"""`evaluate`: generic beside adapted rankings on judged questions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from instruct_embeddings._records import read_records, row_errors
from instruct_embeddings.cli.database import Database
from instruct_embeddings.cli.models import open_retriever, read_filter
from instruct_embeddings.cli.options import (
    CollectionOption,
    ExactOption,
    JsonOption,
    ModelOption,
    StoreOption,
    WhereOption,
    command,
)
from instruct_embeddings.cli.output import finish
from instruct_embeddings.errors import DataError

_LINE = '{"query": "it ate my photos", "relevant": ["ticket-17", "ticket-3"]}'
_QUERIES = "queries.jsonl"
_QRELS = ("qrels.tsv", "qrels/test.tsv")
_FOLDER = f"A folder holds {_QUERIES} and {_QRELS[0]} (or {_QRELS[1]})"


@command
def evaluate(
    questions: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help='JSONL of {"query": ..., "relevant": [ids]}, each perhaps with an "instruction"; '
            "CSV with these columns and one id a line; or a folder with queries.jsonl and "
            "qrels.tsv.",
        ),
    ],
    collection: CollectionOption,
    database: Database,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction", "-i", help="One fitted by `adapt`, of questions that bring none."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results looked at.", min=1)] = 10,
    blends: Annotated[
        list[float] | None,
        typer.Option(
            "--blend",
            help="Share of the adapted score to try; repeatable. By default 0.25, 0.5, 0.75 and 1.",
            show_default=False,
        ),
    ] = None,
    where: WhereOption = None,
    exact: ExactOption = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    store: StoreOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure generic beside adapted rankings on questions whose right answers are known.

    nDCG and recall at several blends, whether the difference is more than chance, and the blend to
    use: `query --blend`.
    """
    options: dict[str, Any] = {"k": k, "where": read_filter(where), "exact": exact, "seed": seed}
    if blends:
        options["blends"] = blends
    asked = read_questions(questions)
    texts = {key: text for key, text in asked.texts.items() if key in asked.grades}
    under = [asked.instructions.get(key, instruction) for key in texts]
    instructions = [one for one in under if one is not None]
    if len(instructions) < len(under):
        raise DataError(
            f"{len(under) - len(instructions)} of {len(under)} questions have no instruction. Each "
            'needs one: a key "instruction" in its line, or --instruction for all that have none. '
            'Add --instruction "..." with one that `adapt` has fitted.'
        )
    retriever, encoder = open_retriever(
        database, collection, store, model, *dict.fromkeys(instructions)
    )
    report = retriever.evaluate(
        texts, asked.grades, instruction=instructions, embed=encoder.encode, **options
    )
    document = {**report.to_dict(), "verdict": report.verdict(), "collection": collection}
    finish(document, str(report), as_json=as_json)


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
