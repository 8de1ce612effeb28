"""`eval`: tasks of mteb, or of local files, on the encoder, the transform and the baseline."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._reading import parse_json
from instruct_embeddings._version import __version__
from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import finish, note, progress
from instruct_embeddings.errors import DataError

if TYPE_CHECKING:
    from instruct_embeddings.evaluation.mteb_run import MtebModel, TaskScore


class EvalMethod(str, Enum):
    """How texts are read and ranked."""

    generic = "generic"
    encoder = "encoder"
    transform = "transform"


@command
def evaluate(
    tasks: Annotated[
        list[str],
        typer.Option(
            "--tasks",
            "-t",
            help="A task or a benchmark of mteb, IFIR, LIMIT, or a path of local JSONL files; "
            "repeatable.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Encoder: an id on the model hub or a local folder. By default the one that comes "
            "with the package.",
            show_default=False,
        ),
    ] = None,
    generic_model: Annotated[
        str | None,
        typer.Option(
            help="Model whose vectors `generic` ranks and `transform` adapts. By default "
            "sentence-transformers/all-MiniLM-L6-v2.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="JSON file of all scores, written after each task.",
            show_default=False,
        ),
    ] = None,
    methods: Annotated[
        list[EvalMethod] | None,
        typer.Option(
            "--method",
            help="`encoder` reads texts under instructions, `transform` adapts generic vectors to "
            "them, `generic` reads none; repeatable. By default `encoder`.",
            show_default=False,
        ),
    ] = None,
    instructions: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='JSON file of instructions by task, such as {"ArguAna": "Find what refutes it."}.',
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an encoder on tasks of mteb.

    Tasks of mteb fetch their data from the model hub; a folder of JSONL files needs no network.
    """
    from instruct_embeddings.evaluation.mteb_run import find_tasks, run_task, score_table

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
                _write(output, document)
            advance(1)
    saved = [] if output is None else [f"\nAll scores are in {output}"]
    finish(document, score_table(scores), *saved, as_json=as_json)
    _check_that_all_ran(scores)


def read_instructions(file: Path | None) -> dict[str, str]:
    """Instructions by task.

    Raises:
        DataError: The file is not a JSON object of texts.
    """
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
    from instruct_embeddings.evaluation.mteb_encoder import MtebEncoder
    from instruct_embeddings.evaluation.mteb_retriever import MtebRetriever
    from instruct_embeddings.guides.encoder import EncoderGuide

    encoder = InstructEncoder.from_pretrained(model)
    generic = InstructEncoder.from_pretrained(generic_model or BASE_MODEL)
    makers: dict[EvalMethod, Callable[[], MtebModel]] = {
        EvalMethod.generic: lambda: MtebEncoder(generic, instructed=False),
        EvalMethod.encoder: lambda: MtebEncoder(encoder, instructions=instructions),
        EvalMethod.transform: lambda: MtebRetriever(
            generic, EncoderGuide(encoder), instructions=instructions
        ),
    }
    made = {method.value: makers[method]() for method in dict.fromkeys(methods)}
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


def _write(file: Path, document: Mapping[str, Any]) -> None:
    """Under another name first: an interrupted run leaves the old file or the new one."""
    fresh = file.with_name(f"{file.name}.writing")
    fresh.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)
