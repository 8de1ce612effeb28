"""`evaluate`: rankings on judged questions; `eval`: tasks of mteb or of local files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._reading import parse_json
from instruct_embeddings._records import read_records, row_errors
from instruct_embeddings._version import __version__
from instruct_embeddings.cli.models import open_retriever, read_filter
from instruct_embeddings.cli.options import (
    CollectionOption,
    ExactOption,
    JsonOption,
    ModelOption,
    WhereOption,
    command,
)
from instruct_embeddings.cli.output import finish, note, progress
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import DataError

if TYPE_CHECKING:
    from instruct_embeddings.evaluation.mteb_run import MtebModel, TaskScore
    from instruct_embeddings.transform.store import TransformStore

T = TypeVar("T")
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
    store: Store,
    transforms: "TransformStore",
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
        ),
    ] = None,
    where: WhereOption = None,
    exact: ExactOption = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
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
    texts, under = asked.judged(instruction)
    instructions = [one for one in under if one is not None]
    if len(instructions) < len(under):
        raise DataError(
            f"{len(under) - len(instructions)} of {len(under)} questions have no instruction. Each "
            'needs one: a key "instruction" in its line, or --instruction for all that have none. '
            'Add --instruction "..." with one that `adapt` has fitted.'
        )
    retriever, encoder = open_retriever(
        store, collection, transforms, model, *dict.fromkeys(instructions)
    )
    report = retriever.evaluate(
        texts, asked.grades, instruction=instructions, embed=encoder.encode, **options
    )
    document = {**report.to_dict(), "verdict": report.verdict(), "collection": collection}
    finish(document, str(report), as_json=as_json)


@dataclass
class JudgedQuestions:
    """What a file asks, by the id of the question or the number of its line."""

    texts: dict[str, str] = field(default_factory=dict)
    grades: dict[str, dict[str, float]] = field(default_factory=dict)  # by id of the row
    instructions: dict[str, str] = field(default_factory=dict)  # of questions that bring their own

    def judged(self, default: str | T) -> tuple[dict[str, str], list[str | T]]:
        """Texts of the questions that have answers, and what each is asked under."""
        texts = {key: text for key, text in self.texts.items() if key in self.grades}
        return texts, [self.instructions.get(key, default) for key in texts]


def read_questions(path: Path) -> JudgedQuestions:
    """Questions of a JSONL or CSV file, or of a folder with queries.jsonl and qrels.tsv."""
    found = _folder(path) if path.is_dir() else _lines(path)
    if not any(found.grades.values()):
        raise DataError(
            f"{path} holds {len(found.texts)} queries and no relevant id. At least one judged "
            f"question is needed: each line is like {_LINE}. {_FOLDER}. Add the ids that answer."
        )
    return found


def _lines(file: Path) -> JudgedQuestions:
    form = f"Each line is like {_LINE}; an instruction may stand beside"
    found = JudgedQuestions()
    for row, values in read_records(file, text_key="query", form=form):
        key = str(row.line)
        with row_errors(row, form):
            found.texts[key] = _text(values, "query")
            found.grades[key] = _relevant(values)
            if values.get("instruction") is not None:
                found.instructions[key] = _text(values, "instruction")
    return found


def _folder(folder: Path) -> JudgedQuestions:
    qrels = next((folder / name for name in _QRELS if (folder / name).is_file()), None)
    if not (folder / _QUERIES).is_file() or qrels is None:
        there = ", ".join(sorted(one.name for one in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{folder} holds {there}. {_FOLDER}. Name such a folder, or a JSONL file whose lines "
            f"are like {_LINE}."
        )
    found = JudgedQuestions()
    form = 'Each line is like {"_id": "q1", "text": "it ate my photos"}'
    for row, values in read_records(folder / _QUERIES, text_key="query", form=form):
        with row_errors(row, form):
            key = str(values.get("_id", values.get("id", "")))
            if not key or key in found.texts:
                raise ValueError(f"the id {key!r} is {'used twice' if key else 'missing'}")
            found.texts[key] = _text(values, "text")
    form = "The first line is query-id, corpus-id, score, separated by tabs"
    for row, values in read_records(qrels, text_key="query", form=form):
        with row_errors(row, form):
            key, name, score = (_text(values, c) for c in ("query-id", "corpus-id", "score"))
            if key not in found.texts:
                raise ValueError(f"the query {key!r:.60} is not in {_QUERIES}")
            found.grades.setdefault(key, {})[name] = float(score)
    return found


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key!r} is {value!r:.60}, not a text (keys: {sorted(row)})")
    return value


def _relevant(row: Mapping[str, object]) -> dict[str, float]:
    value = row.get("relevant")
    if isinstance(value, Mapping) and all(type(grade) in (int, float) for grade in value.values()):
        return {str(key): float(grade) for key, grade in value.items()}
    ids = value if isinstance(value, list) else [value] if str(value).strip() else [None]
    if all(type(one) in (str, int) for one in ids):
        return dict.fromkeys(map(str, ids), 1.0)
    raise ValueError(f"'relevant' is {value!r:.60}, not an id, a list of ids, nor ids with grades")


class EvalMethod(str, Enum):
    """How texts are read and ranked."""

    generic = "generic"
    encoder = "encoder"
    transform = "transform"


@command
def evaluate_tasks(
    tasks: Annotated[
        list[str],
        typer.Option(
            "--tasks",
            "-t",
            help="A task or a benchmark of mteb, IFIR, LIMIT, or a file or folder as above; "
            "repeatable.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Encoder: an id on the model hub or a local folder. By default the one that comes "
            "with the package.",
        ),
    ] = None,
    generic_model: Annotated[
        str | None,
        typer.Option(
            help="Model whose vectors `generic` ranks and `transform` adapts. By default "
            "sentence-transformers/all-MiniLM-L6-v2.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="JSON file of all scores, written after each task.",
        ),
    ] = None,
    methods: Annotated[
        list[EvalMethod] | None,
        typer.Option(
            "--method",
            help="`encoder` reads texts under instructions, `transform` adapts generic vectors to "
            "them, `generic` reads none; repeatable. By default `encoder`.",
        ),
    ] = None,
    instructions: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='JSON file of instructions by task, such as {"ArguAna": "Find what refutes it."}.',
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an encoder on tasks of mteb, or on files of your own.

    Tasks of mteb fetch their data from the model hub; files need no network:

    a folder with corpus.jsonl ({"_id": "d1", "text": ...}), queries.jsonl ({"_id": "q1", "text":
    ..., "instruction": ...}) and qrels.tsv (query-id, corpus-id, score) is a retrieval task;

    a JSONL file of {"text": ..., "labels": {"tone": "angry"}} is measured by its labels;

    one of {"sentence1": ..., "sentence2": ..., "score": 3.8} by similarity.
    """
    from instruct_embeddings.evaluation.mteb_run import find_tasks, run_task, score_table
    from instruct_embeddings.transform.files import write_whole

    asked = read_instructions(instructions)
    found = find_tasks(tasks, asked)
    models = _models(model, generic_model, methods or [EvalMethod.encoder], asked)
    # Bars of every step inside a task would tear our own.
    require("datasets", extra="mteb").disable_progress_bars()
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
    scores: list[TaskScore] = []
    document: dict[str, Any] = {}
    with progress("Evaluating", len(found)) as advance:
        for task in found:
            own = list(run_task(task, models))
            for remark, names in _remarks(own).items():
                note(f"{own[0].task}, {', '.join(names)}: {remark}")
            scores += own
            document = _document(models, asked, scores)
            if output is not None:
                text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
                write_whole(output, text.encode())
            advance(1)
    saved = [] if output is None else [f"\nAll scores are in {output}"]
    finish(document, score_table(scores), *saved, as_json=as_json)
    _check_that_all_ran(scores)


def read_instructions(file: Path | None) -> dict[str, str]:
    """Instructions by task, of a JSON object of texts."""
    if file is None:
        return {}
    try:
        found = parse_json(file.read_bytes())
    except ValueError as exc:
        raise DataError(f"{file} is not JSON ({exc}). Correct the file.") from exc
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise DataError(
            f"{file} holds no instructions by task. It should look like "
            '{"ArguAna": "Find what refutes it."}.'
        )
    return found


def _models(
    model: str | None,
    generic_model: str | None,
    methods: Sequence[EvalMethod],
    instructions: Mapping[str, str],
) -> "dict[str, MtebModel]":
    from instruct_embeddings.encoder import BASE_MODEL, InstructEncoder
    from instruct_embeddings.evaluation.mteb_models import MtebEncoder, MtebRetriever
    from instruct_embeddings.guides.encoder import EncoderGuide

    encoder = InstructEncoder.from_pretrained(model)
    generic = InstructEncoder.from_pretrained(generic_model or BASE_MODEL)
    known: dict[str, MtebModel] = {
        "generic": MtebEncoder(generic, instructed=False),
        "encoder": MtebEncoder(encoder, instructions=instructions),
        "transform": MtebRetriever(generic, EncoderGuide(encoder), instructions=instructions),
    }
    made: dict[str, MtebModel] = {method.value: known[method.value] for method in methods}
    for one in made.values():
        # Looked for now, so that a model that is not there stops the command before it starts.
        _ = one.mteb_model_meta
    return made


def _remarks(scores: "Sequence[TaskScore]") -> dict[str, list[str]]:
    """Methods by what kept them from a score, or what is to be known about it."""
    found: dict[str, list[str]] = {}
    for one in scores:
        for remark in (*([one.problem] if one.problem else []), *one.remarks):
            found.setdefault(remark, []).append(one.method)
    return found


def _check_that_all_ran(scores: "Sequence[TaskScore]") -> None:
    ran = {one.task for one in scores if one.score is not None}
    missing = list(dict.fromkeys(one.task for one in scores if one.task not in ran))
    if missing:
        raise DataError(
            f"No score for {', '.join(missing)}; the reasons stand above. Tasks of mteb need the "
            "model hub (HF_HUB_OFFLINE unset) or its cache; local JSONL files need no network."
        )


def _document(
    models: "Mapping[str, MtebModel]",
    instructions: Mapping[str, str],
    scores: "Sequence[TaskScore]",
) -> dict[str, Any]:
    from importlib.metadata import version

    metas = {method: model.mteb_model_meta for method, model in models.items()}
    return {
        "versions": {"instruct-embeddings": __version__, "mteb": version("mteb")},
        "methods": {
            method: {"model": meta.name, "revision": meta.revision}
            for method, meta in metas.items()
        },
        "instructions": dict(instructions),
        "scores": [one.to_dict() for one in scores],
    }
