"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

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
