"""Options that several commands share, and the decorator of all commands."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from instruct_embeddings.cli.output import reported
from instruct_embeddings.cli.store import Store

if TYPE_CHECKING:
    from instruct_embeddings.transform.store import TransformStore

CollectionOption: TypeAlias = Annotated[
    str, typer.Option("--collection", "-c", help="Name of the collection.")
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
    str | None, typer.Option(help='Filter on metadata, such as \'{"area": "billing"}\'.')
]
BlendOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="From 0 (generic) to 1 (adapted). By default what judged questions have chosen, or 1.",
        min=0.0,
        max=1.0,
    ),
]
ExampleOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="An example of what the instruction means, as JSON: a query, a text that answers it "
        "and perhaps one that does not, such as "
        '\'["it ate my photos", "Restore them from the bin."]\'; can be given several times.'
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

_ADDRESS = typer.Option(
    "--store",
    envvar="INSTRUCT_EMBEDDINGS_STORE",
    help="Address of the store: chroma:FOLDER or the folder alone, chroma://host:8000, "
    "milvus:FILE.db, milvus://host:19530, qdrant:FOLDER, qdrant://host:6333 or "
    "postgresql://user@host/database. Passwords are better left out of it, to PGPASSWORD and its "
    "kind.",
)
AddressOption: TypeAlias = Annotated[str | None, _ADDRESS]
HeaderOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help='Header for a server of Chroma, such as "X-Team: search"; can be given several times. '
        "Chroma reads tokens and passwords from CHROMA_CLIENT_AUTH_PROVIDER and "
        "CHROMA_CLIENT_AUTH_CREDENTIALS, where other users of the machine cannot see them."
    ),
]
TimeoutOption: TypeAlias = Annotated[
    float | None, typer.Option(help="Most seconds to wait for a server of Chroma (120).", min=0.1)
]
_STORE = {
    "store": Annotated[str, _ADDRESS],
    "header": HeaderOption,
    "timeout": TimeoutOption,
}
_FOLDER = {
    "transforms": Annotated[
        Path | None,
        typer.Option(
            help="Folder of the fitted transforms. By default `instruct-transforms` inside the "
            "folder of --store, or a folder of the user's cache for a server."
        ),
    ],
}
_DEBUG = {"debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command: its expected errors become messages, unless with --debug.

    In the stead of its parameters `store` and `transforms` it has options: the address of a store,
    which is closed afterwards, and a folder of transforms, by default the one of that store.
    """
    given = inspect.signature(function).parameters
    needed = {} if "store" in given else {"store": AddressOption}
    stead: dict[str, dict[str, Any]] = {"store": _STORE, "transforms": needed | _FOLDER}
    options = {name: one for made in given for name, one in stead.get(made, {}).items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in given.items():
        parameters += _parameters(stead[name]) if name in stead else [parameter]
    parameters += _parameters(_DEBUG)

    @functools.wraps(function)
    def run(*, debug: bool, **values: Any) -> None:
        with reported(debug=debug), ExitStack() as stack:
            place = [values.pop(name) for name in _STORE if name in options]
            store = Store(*place) if place and place[0] is not None else None
            if "transforms" in given:
                values["transforms"] = _open_transforms(values["transforms"], store)
            if "store" in given and store is not None:
                values["store"] = stack.enter_context(store)
            function(**values)

    # What typer reads.
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _open_transforms(folder: Path | None, store: Store | None) -> "TransformStore":
    from instruct_embeddings.transform.store import TransformStore

    if folder is None:
        if store is None:
            raise typer.BadParameter("name --transforms FOLDER, or --store ADDRESS.")
        folder = store.transforms
    return TransformStore(folder)


def _parameters(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults = {str: inspect.Parameter.empty, bool: False}
    return [
        inspect.Parameter(
            name, kind, default=defaults.get(annotation.__origin__), annotation=annotation
        )
        for name, annotation in options.items()
    ]
