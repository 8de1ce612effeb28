"""The options that name a Chroma database, for every command that works on one."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from instruct_embeddings.cli.options import (
    DatabaseOption,
    HeaderOption,
    HostOption,
    PathOption,
    PortOption,
    SslOption,
    TenantOption,
    TimeoutOption,
)
from instruct_embeddings.cli.places import Place

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "path": (PathOption, None),
    "host": (HostOption, None),
    "port": (PortOption, None),
    "ssl": (SslOption, False),
    "tenant": (TenantOption, None),
    "database": (DatabaseOption, None),
    "header": (HeaderOption, None),
    "timeout": (TimeoutOption, None),
}


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options of a Chroma database where a command has its parameter `place`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        place = Place.given(**{name: given.pop(name) for name in _OPTIONS})
        command(place=place, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += _options() if parameter.name == "place" else [parameter]
    # What typer reads.
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options() -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]
