"""Options that several commands share, and the decorator of all commands."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from instruct_embeddings.cli.database import Database
from instruct_embeddings.cli.output import reported

PathOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--path", help="Folder of a persistent Chroma database.", show_default=False),
]
HostOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--host", help="Host of a running Chroma server.", show_default=False),
]
PortOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--port", help="Port of that server (8000).", min=1, max=65535),
]
SslOption: TypeAlias = Annotated[
    bool, typer.Option("--ssl", help="Reach that server by https.", show_default=False)
]
TenantOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Tenant of the database.", show_default=False)
]
DatabaseOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Database of that tenant.", show_default=False)
]
HeaderOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help='Header for that server, such as "X-Team: search"; can be given several times. Chroma '
        "reads tokens and passwords from CHROMA_CLIENT_AUTH_PROVIDER and "
        "CHROMA_CLIENT_AUTH_CREDENTIALS, where other users of the machine cannot see them.",
        show_default=False,
    ),
]
TimeoutOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Most seconds to wait for an answer of that server (120).", min=0.1, show_default=False
    ),
]
CollectionOption: TypeAlias = Annotated[
    str, typer.Option("--collection", "-c", help="Name of the collection.")
]
StoreOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of the fitted transforms. By default `instruct-transforms` inside --path, or "
        "a folder of the user's cache with --host.",
        show_default=False,
    ),
]
ModelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Sentence encoder: an id on the model hub or a local folder. By default "
        "sentence-transformers/all-MiniLM-L6-v2.",
        show_default=False,
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
        show_default=False,
    ),
]
FittedOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--fitted",
        help="Answer by a stored transform, whatever its report says; an error where there is "
        "none. By default the instant query answers where no stored one does.",
        show_default=False,
    ),
]
ExactOption: TypeAlias = Annotated[
    bool, typer.Option("--exact", help="Rank all rows, not those that the index finds.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
]
DebugOption: TypeAlias = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.")
]

_DEBUG = {"debug": (DebugOption, False)}
_DATABASE = {
    "path": (PathOption, None),
    "host": (HostOption, None),
    "port": (PortOption, None),
    "ssl": (SslOption, False),
    "tenant": (TenantOption, None),
    "database": (DatabaseOption, None),
    "header": (HeaderOption, None),
    "timeout": (TimeoutOption, None),
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command: its expected errors become messages, unless with --debug.

    Its parameter `database`, if it has one, is given the database that the options in its stead
    name, which is closed afterwards.
    """
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        named = parameter.name == "database"
        parameters += _parameters(_DATABASE) if named else [parameter]
    on_database = len(parameters) > len(inspect.signature(function).parameters)
    parameters += _parameters(_DEBUG)

    @functools.wraps(function)
    def run(*, debug: bool, **given: Any) -> None:
        with reported(debug=debug):
            if not on_database:
                function(**given)
                return
            options = {name: given.pop(name) for name in _DATABASE}
            with Database.from_options(**options) as database:
                function(database=database, **given)

    # What typer reads.
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameters(options: dict[str, tuple[Any, Any]]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
