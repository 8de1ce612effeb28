"""The store that a command works on, by its address."""

import logging
import re
import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from instruct_embeddings._addresses import cache_folder, is_server, place_of, scheme_of, shown
from instruct_embeddings._extras import require
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from chroma_instruct_embeddings.database import ChromaDatabase
    from instruct_embeddings.protocols import VectorCollection

# Two letters at least: one alone is a drive.
_SCHEME = re.compile(r"[a-z][a-z0-9+]+:", re.IGNORECASE)
_SERVER = re.compile(r"([^:]+://)(?:.*@)?(.*)")
# A user or a password with characters that end it for a client, which would show the rest.
_BROKEN = re.compile(r"[^:]+://(?:[^?]*[@/][^?]*@|[^?]*\?[^=&]*@)")
_TRANSFORMS = "instruct-transforms"


@dataclass
class Store:
    """A store of vectors by its address; without a scheme it is a folder of Chroma.

    A context manager, which closes what was opened. Headers and the passwords of an address are
    never shown.

    Raises:
        typer.BadParameter: Headers or a timeout do not belong to the store, or its address may show
            a password.
    """

    address: str = field(repr=False)
    header: list[str] | None = field(default=None, repr=False)
    timeout: float | None = None
    _opened: ExitStack = field(default_factory=ExitStack, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _SCHEME.match(self.address):
            self.address = f"chroma:{self.address}"
        if _BROKEN.match(self.address):
            raise typer.BadParameter(
                "in the address of a store the characters @, / and ? of a user or a password are "
                "written as %40, %2F and %3F."
            )
        if self.options and not (self.is_chroma and is_server(self.address)):
            raise typer.BadParameter("--header and --timeout belong to a server of Chroma.")
        # A header may be a secret, so that it is not repeated.
        if not all(name and value for name, value in self.options.get("headers", {}).items()):
            raise typer.BadParameter('--header takes a name and a value, such as "X-Team: search".')

    def __str__(self) -> str:
        """The address, without passwords."""
        return shown(self.address)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def is_chroma(self) -> bool:
        """Whether it is a database of Chroma."""
        return scheme_of(self.address) == "chroma"

    @property
    def options(self) -> dict[str, Any]:
        """What `open_store` takes beside the address."""
        parts = (text.partition(":") for text in self.header or ())
        headers = {name.strip(): value.strip() for name, _, value in parts}
        given = {"headers": headers, "timeout": self.timeout}
        return {name: value for name, value in given.items() if value}

    @property
    def transforms(self) -> Path:
        """Folder of the transforms that are fitted on its collections, unless another is named."""
        server = _SERVER.match(self.address.partition("?")[0])
        if server:
            return cache_folder() / quote("".join(server.groups()), "")
        path = Path(place_of(self.address).partition("?")[0])
        return (
            path.with_name(f"{path.name}-{_TRANSFORMS}") if path.is_file() else path / _TRANSFORMS
        )

    def flags(self, collection: str) -> str:
        """The options that name one of its collections on a command line."""
        return f"--store {shlex.quote(str(self))} --collection {shlex.quote(collection)}"

    def collection(self, name: str) -> "VectorCollection":
        """Open a collection that exists; a usage error where the address is malformed."""
        from instruct_embeddings.stores import open_store

        try:
            found = open_store(self.address, name, **self.options)
        except ConfigError as exc:
            raise typer.BadParameter(str(exc)) from exc
        if scheme_of(self.address) == "milvus":
            # It logs a traceback of each error, besides raising it.
            logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if (close := getattr(found, "close", None)) is not None:
            self._opened.callback(close)
        return found

    def chroma(self) -> "ChromaDatabase":
        """The database of Chroma that it is; a usage error where it is none."""
        if not self.is_chroma:
            raise typer.BadParameter(
                f"{self} is no store of Chroma, which this needs. Name a folder or chroma://host."
            )
        databases = require("chroma_instruct_embeddings.database", extra="chroma")
        try:
            found: ChromaDatabase = databases.ChromaDatabase(self.address, **self.options)
        except ConfigError as exc:
            raise typer.BadParameter(str(exc)) from exc
        return self._opened.enter_context(found)
