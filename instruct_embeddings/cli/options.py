"""Options that several commands share, and the decorator of all commands."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from instruct_embeddings.cli.database import Database
from instruct_embeddings.cli.output import reported

if TYPE_CHECKING:
    from instruct_embeddings.transform.store import TransformStore

CollectionOption: TypeAlias = Annotated[
    str, typer.Option("--collection", "-c", help="Name of the collection.")
]
StoreOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of the fitted transforms. By default `instruct-transforms` inside --path, or "
        "a folder of the user's cache with --host.",
    ),
]
ModelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Sentence encoder: an id on the model hub or a local folder. By default "
        "sentence-transformers/all-MiniLM-L6-v2.",
    ),
]
WhereOption: TypeAlias = Annotated[
    str | None, typer.Option(help='Chroma filter on metadata, such as \'{"area": "billing"}\'.')
]
BlendOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="From 0 (generic) to 1 (adapted). By default what judged questions have chosen, or 1.",
        min=0.0,
        max=1.0,
    ),
]
FittedOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--fitted",
        help="Answer by a stored transform, whatever its report says; an error where there is "
        "none. By default the instant query answers where no stored one does.",
    ),
]
ExactOption: TypeAlias = Annotated[
    bool, typer.Option("--exact", help="Rank all rows, not those that the index finds.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
]

_FOLDER_OR_SERVER = {
    "path": Annotated[Path | None, typer.Option(help="Folder of a persistent Chroma database.")],
    "host": Annotated[str | None, typer.Option(help="Host of a running Chroma server.")],
    "port": Annotated[
        int | None, typer.Option(help="Port of that server (8000).", min=1, max=65535)
    ],
}
_DATABASE = _FOLDER_OR_SERVER | {
    "ssl": Annotated[bool, typer.Option("--ssl", help="Reach that server by https.")],
    "tenant": Annotated[str | None, typer.Option(help="Tenant of the database.")],
    "database": Annotated[str | None, typer.Option(help="Database of that tenant.")],
    "header": Annotated[
        list[str] | None,
        typer.Option(
            help='Header for that server, such as "X-Team: search"; can be given several times. '
            "Chroma reads tokens and passwords from CHROMA_CLIENT_AUTH_PROVIDER and "
            "CHROMA_CLIENT_AUTH_CREDENTIALS, where other users of the machine cannot see them."
        ),
    ],
    "timeout": Annotated[
        float | None,
        typer.Option(help="Most seconds to wait for an answer of that server (120).", min=0.1),
    ],
}
_DEBUG = {"debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]}


def _open_transforms(store: Path | None, **place: Any) -> "TransformStore":
    from instruct_embeddings.transform.store import TransformStore

    return TransformStore(store or Database(**place).store())


# Parameters of commands, the options in their stead, and what makes the one of the others.
_MADE: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "database": (_DATABASE, Database),
    "transforms": (_FOLDER_OR_SERVER | {"store": StoreOption}, _open_transforms),
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command: its expected errors become messages, unless with --debug.

    In the stead of its parameters `database` and `transforms` it has options that name a Chroma
    database, which is closed afterwards, or a folder of transforms.
    """
    given = inspect.signature(function).parameters
    parameters: list[inspect.Parameter] = []
    for name, parameter in given.items():
        parameters += _parameters(_MADE[name][0]) if name in _MADE else [parameter]
    parameters += _parameters(_DEBUG)

    @functools.wraps(function)
    def run(*, debug: bool, **values: Any) -> None:
        with reported(debug=debug), ExitStack() as stack:
            for name in given.keys() & _MADE.keys():
                options, make = _MADE[name]
                values[name] = make(**{option: values.pop(option) for option in options})
                if isinstance(values[name], Database):
                    stack.enter_context(values[name])
            function(**values)

    # What typer reads.
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameters(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(
            name,
            kind,
            default=False if annotation.__origin__ is bool else None,
            annotation=annotation,
        )
        for name, annotation in options.items()
    ]
