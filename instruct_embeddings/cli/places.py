"""Where a collection lives: a folder or a running Chroma server."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli.restoring import refuse_damaged
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    UnreachableCollectionError,
)

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI
    from chromadb.config import Settings

MODEL_KEY = "instruct_embeddings:model"
_DEFAULT_PORT = 8000


@dataclass(frozen=True)
class Place:
    """A Chroma database.

    Attributes:
        path: Folder of a persistent database, or None for a server.
        host: Host of a server.
        port: Port of that server.
        ssl: Whether it is reached by https.
        tenant: Tenant of the database; None for Chroma's default.
        database: Database of the tenant; None for Chroma's default.
        headers: Names and values for the server; never shown, since they may hold secrets.
        timeout: Most seconds to wait for an answer of the server; None for the default.
    """

    path: Path | None = None
    host: str | None = None
    port: int = _DEFAULT_PORT
    ssl: bool = False
    tenant: str | None = None
    database: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float | None = None

    @classmethod
    def given(
        cls,
        path: Path | None,
        host: str | None,
        port: int | None,
        *,
        ssl: bool = False,
        tenant: str | None = None,
        database: str | None = None,
        header: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> "Place":
        """The place that the options of a command name.

        Raises:
            typer.BadParameter: Not exactly one of a folder and a host is named, an option goes with
                the other of the two, or a header has no name or no value.
        """
        if (path is None) == (host is None):
            raise typer.BadParameter(
                "name the Chroma database: either --path FOLDER or --host HOST [--port PORT]."
            )
        if host is None and port is not None:
            raise typer.BadParameter("--port belongs to --host; a --path has no port.")
        if host is None and (ssl or header or timeout is not None):
            raise typer.BadParameter(
                "--ssl, --header and --timeout belong to --host; a --path has none of them."
            )
        if host is not None and set(host) & set("/@"):
            # What stands before an @ may be a password, so that the host is not repeated.
            raise typer.BadParameter(
                "--host is a name or an address, such as chroma.example.com; for https add --ssl, "
                "for passwords see --header."
            )
        headers = tuple(map(_header, header or ()))
        return cls(path, host, port or _DEFAULT_PORT, ssl, tenant, database, headers, timeout)

    def __str__(self) -> str:
        """The folder, or host and port."""
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"

    @property
    def flags(self) -> str:
        """The options that name this place on a command line."""
        if self.path is not None:
            words = ["--path", str(self.path)]
        else:
            words = ["--host", str(self.host), "--port", str(self.port), *["--ssl"] * self.ssl]
        for name, value in (("--tenant", self.tenant), ("--database", self.database)):
            words += [name, value] if value else []
        return shlex.join(words)

    def store(self, given: Path | None = None) -> Path:
        """Folder of the fitted transforms: the given one, or the default of this place."""
        if given is not None:
            return given
        if self.path is not None:
            return self.path / "instruct-transforms"
        return _cache_folder() / "instruct-embeddings" / f"{quote(str(self.host), '')}_{self.port}"

    def client(self, *, create: bool = False) -> "ClientAPI":
        """Connect.

        Args:
            create: Make a folder that does not hold a database yet into one.

        Raises:
            CollectionError: There is no database there, or no server answers.
        """
        chromadb = require("chromadb", extra="chroma")
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        if self.path is None:
            return self._server(settings)
        if not create and not (self.path / "chroma.sqlite3").is_file():
            raise CollectionError(
                f"There is no Chroma database in {str(self.path)!r}: a folder with a file "
                "chroma.sqlite3 is expected. Name that folder with --path, or make one with: "
                f"instruct-embeddings index FILE --path {self.path} --collection NAME"
            )
        try:
            folder: ClientAPI = chromadb.PersistentClient(
                str(self.path), settings=settings, **self._names
            )
        except (ValueError, OSError, chromadb.errors.ChromaError) as exc:
            raise CollectionError(
                f"The Chroma database in {str(self.path)!r} cannot be opened: {exc}. Check that "
                f"the folder can be written and was made by Chroma{self._check_names}."
            ) from exc
        return folder

    def reached(self) -> AbstractContextManager[None]:
        """For requests that belong to no collection: an error of this place where none answers."""
        client = require("chroma_instruct_embeddings.client", extra="chroma")
        found: AbstractContextManager[None] = client.reachable(str(self), self.timeout)
        return found

    def _server(self, settings: "Settings") -> "ClientAPI":
        chroma = require("chroma_instruct_embeddings.client", extra="chroma")
        limit = {} if self.timeout is None else {"timeout": self.timeout}
        try:
            client: ClientAPI = chroma.http_client(
                self.host,
                self.port,
                ssl=self.ssl,
                headers=dict(self.headers),
                settings=settings,
                **limit,
                **self._names,
            )
        except UnreachableCollectionError:
            raise
        except (ValueError, OSError, require("chromadb.errors").ChromaError) as exc:
            raise CollectionError(
                f"No Chroma server answers at {self} ({exc}). Start one with: chroma run "
                f"--path FOLDER --host {self.host} --port {self.port}{self._check_names}"
            ) from exc
        return client

    @property
    def _names(self) -> dict[str, str]:
        named = {"tenant": self.tenant, "database": self.database}
        return {name: value for name, value in named.items() if value}

    @property
    def _check_names(self) -> str:
        named = ", ".join(f"{name} {value!r}" for name, value in self._names.items())
        return f", or check {named}" if named else ""

    def collection(self, name: str) -> "Collection":
        """Open an existing collection.

        Raises:
            CollectionError: There is none of that name; the message lists those that exist.
        """
        client = self.client()
        with self.reached():
            names = sorted(collection.name for collection in client.list_collections())
        if name not in names:
            held = f"It holds: {', '.join(names)}. Name one of them with --collection."
            make = f"It holds none. Make one with: instruct-embeddings index FILE {self.flags}"
            raise CollectionError(
                f"There is no collection {name!r} in {self}. "
                f"{held if names else f'{make} --collection {shlex.quote(name)}'}"
            )
        with self.reached():
            # Vectors are always given, so the recorded embedding function need not be built.
            found = client.get_collection(name, embedding_function=None)
        if self.path is not None:
            refuse_damaged(self.path, found)
        return found


def existing_collection(client: "ClientAPI", name: str) -> "Collection | None":
    """A collection, if there is one of that name."""
    errors = require("chromadb.errors", extra="chroma")
    try:
        return client.get_collection(name, embedding_function=None)
    except errors.NotFoundError:
        return None


def new_collection(client: "ClientAPI", name: str, model: str) -> "Collection":
    """Open a collection, or create one for cosine similarity that records its model.

    Raises:
        CollectionError: The name is not one that Chroma accepts.
    """
    errors = require("chromadb.errors", extra="chroma")
    try:
        return client.get_or_create_collection(
            name,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={MODEL_KEY: model},
        )
    except (ValueError, errors.ChromaError) as exc:
        raise CollectionError(f"The collection {name!r} cannot be opened: {exc}") from exc


def check_model(metadata: Mapping[str, Any] | None, collection: str, model: str) -> bool:
    """Refuse a collection that another model filled.

    Args:
        metadata: Metadata of the collection.
        collection: Its name.
        model: Name of the model about to be used.

    Returns:
        Whether the collection records its model at all.

    Raises:
        CollectionMismatchError: Another model is recorded; the message names both.
    """
    recorded = (metadata or {}).get(MODEL_KEY)
    if recorded is not None and recorded != model:
        raise CollectionMismatchError(
            f"The collection {collection!r} was filled by {recorded!r}, and {model!r} is about "
            "to be used: their vectors cannot be compared. "
            f"Use the model that filled it: --model {recorded}"
        )
    return recorded is not None


def _header(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not (name and value):
        # The value may be a secret, so that the text is not repeated.
        raise typer.BadParameter('--header takes a name and a value, such as "X-Team: search".')
    return name, value


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
