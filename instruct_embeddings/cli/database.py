"""Chroma databases: a folder or a running server."""

import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    UnreachableCollectionError,
)

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI

MODEL_KEY = "instruct_embeddings:model"
# The last file of an index to be written: where another one is newer, writing was cut off.
_LAST = "index_metadata.pickle"
_END_OF_PICKLE = b"."
# Seconds in which a process that is still writing shows it.
_PATIENCE = 1.0


@dataclass
class Database:
    """A Chroma database, in a folder (`path`) or on a server (`host`), by the options of a command.

    A context manager, which closes its connections. None stands for Chroma's defaults. Headers,
    such as "X-Team: search", are never shown, since they may hold secrets.

    Raises:
        typer.BadParameter: The options name no database, or do not go together.
    """

    path: Path | None = None
    host: str | None = None
    port: int | None = None
    ssl: bool = False
    tenant: str | None = None
    database: str | None = None
    header: list[str] | None = field(default=None, repr=False)
    timeout: float | None = None
    _client: "ClientAPI | None" = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.host is None):
            raise typer.BadParameter(
                "name the Chroma database: either --path FOLDER or --host HOST [--port PORT]."
            )
        remote = self.port, self.ssl or None, self.header or None, self.timeout
        if self.host is None and any(option is not None for option in remote):
            raise typer.BadParameter(
                "--port, --ssl, --header and --timeout belong to --host; a --path has none of them."
            )
        if self.host is not None and set(self.host) & set("/@"):
            # What stands before an @ may be a password, so that the host is not repeated.
            raise typer.BadParameter(
                "--host is a name or an address, such as chroma.example.com; for https add --ssl, "
                "for passwords see --header."
            )
        # A header may be a secret, so that it is not repeated.
        if not all(name and value for name, value in self.headers):
            raise typer.BadParameter('--header takes a name and a value, such as "X-Team: search".')
        self.port = self.port or 8000

    def __str__(self) -> str:
        """The folder, or host and port."""
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names and values of the headers."""
        parts = (text.partition(":") for text in self.header or ())
        return [(name.strip(), value.strip()) for name, _, value in parts]

    @property
    def flags(self) -> str:
        """The options that name it on a command line."""
        if self.path is not None:
            words = ["--path", str(self.path)]
        else:
            words = ["--host", str(self.host), "--port", str(self.port), *["--ssl"] * self.ssl]
        for name, value in self._names.items():
            words += [f"--{name}", value]
        return shlex.join(words)

    def store(self, given: Path | None = None) -> Path:
        """Folder of the fitted transforms: the given one, or the default of this database."""
        if given is not None:
            return given
        if self.path is not None:
            return self.path / "instruct-transforms"
        return _cache_folder() / "instruct-embeddings" / f"{quote(str(self.host), '')}_{self.port}"

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None and self.path is None:
            require("chroma_instruct_embeddings.client").close_client(self._client)
        self._client = None

    def client(self, *, create: bool = False) -> "ClientAPI":
        """The connection, made at the first call; `create` makes a folder into a database."""
        if self._client is None:
            self._client = self._connect(create=create)
        return self._client

    def _connect(self, *, create: bool) -> "ClientAPI":
        chromadb = require("chromadb", extra="chroma")
        chroma = require("chroma_instruct_embeddings.client", extra="chroma")
        if self.path is not None and not create and not (self.path / "chroma.sqlite3").is_file():
            raise CollectionError(
                f"There is no Chroma database in {str(self.path)!r}: a folder with a file "
                "chroma.sqlite3 is expected. Name that folder with --path, or make one with: "
                f"instruct-embeddings index FILE --path {self.path} --collection NAME"
            )
        options = {"settings": chromadb.Settings(anonymized_telemetry=False), **self._names}
        found: ClientAPI
        try:
            if self.path is not None:
                found = chromadb.PersistentClient(str(self.path), **options)
            else:
                options |= {} if self.timeout is None else {"timeout": self.timeout}
                found = chroma.http_client(
                    self.host, self.port, ssl=self.ssl, headers=dict(self.headers), **options
                )
        except UnreachableCollectionError:
            raise
        except (ValueError, OSError, chromadb.errors.ChromaError) as exc:
            named = "".join(f", or check {name} {text!r}" for name, text in self._names.items())
            if self.path is not None:
                raise CollectionError(
                    f"The Chroma database in {str(self.path)!r} cannot be opened: {exc}. Check "
                    f"that the folder can be written and was made by Chroma{named}."
                ) from exc
            raise CollectionError(
                f"No Chroma server answers at {self} ({exc}). Start one with: chroma run "
                f"--path FOLDER --host {self.host} --port {self.port}{named}"
            ) from exc
        return found

    @property
    def _names(self) -> dict[str, str]:
        named = {"tenant": self.tenant, "database": self.database}
        return {name: value for name, value in named.items() if value}

    def reached(self) -> AbstractContextManager[None]:
        """For requests that belong to no collection: an error of this database if none answers."""
        errors = require("chroma_instruct_embeddings.errors", extra="chroma")
        found: AbstractContextManager[None] = errors.reachable(str(self), self.timeout)
        return found

    def collection(self, name: str) -> "Collection":
        """Open a collection that exists and whose index is not damaged."""
        found = self.find(name)
        if found is not None:
            self.check_index(found)
            return found
        with self.reached():
            names = sorted(collection.name for collection in self.client().list_collections())
        make = f"instruct-embeddings index FILE {self.flags} --collection {shlex.quote(name)}"
        held = (
            f"It holds: {', '.join(names)}. Name one of them with --collection."
            if names
            else f"It holds none. Make one with: {make}"
        )
        raise CollectionError(f"There is no collection {name!r} in {self}. {held}")

    def find(self, name: str) -> "Collection | None":
        """A collection, if there is one of that name; its index is not looked at."""
        client, errors = self.client(), require("chromadb.errors", extra="chroma")
        with self.reached():
            try:
                # Vectors are always given, so the recorded embedding function need not be built.
                return client.get_collection(name, embedding_function=None)
            except errors.NotFoundError:
                return None

    def create(self, name: str, model: str, *, like: "Collection | None" = None) -> "Collection":
        """Create a collection that records its model, or open it where there is one.

        It gets the distance and the metadata of the collection `like`; cosine without one.
        """
        client, errors = self.client(), require("chromadb.errors", extra="chroma")
        vectors = require("chroma_instruct_embeddings.vectors")
        configuration: Any = {"hnsw": {"space": vectors.space_of(like) if like else "cosine"}}
        # Settings of the index that older versions of Chroma kept there are no metadata.
        old = ((like and like.metadata) or {}).items()
        metadata = {key: value for key, value in old if not key.startswith("hnsw:")}
        with self.reached():
            try:
                return client.get_or_create_collection(
                    name,
                    embedding_function=None,
                    configuration=configuration,
                    metadata={**metadata, MODEL_KEY: model},
                )
            except (ValueError, errors.ChromaError) as exc:
                raise CollectionError(f"The collection {name!r} cannot be opened: {exc}") from exc

    def drop_damaged(self, name: str) -> None:
        """Delete a collection whose index is damaged; nothing where it is not, or there is none."""
        found = self.find(name)
        if found is not None and self.path is not None and is_damaged(self.path, found):
            self.client().delete_collection(name)

    def check_index(self, collection: "Collection") -> None:
        """Stop before Chroma loads an index that would end this process."""
        if self.path is not None and is_damaged(self.path, collection):
            raise CollectionError(
                f"The index of the collection {collection.name!r} in {str(self.path)!r} is damaged:"
                " a process was killed while Chroma wrote it, and loading it may end this one. "
                "Embed the rows of your files anew with: instruct-embeddings index FILE --rebuild "
                f"{self.flags} --collection {shlex.quote(collection.name)}"
            )


def check_model(metadata: Mapping[str, Any] | None, collection: str, model: str) -> bool:
    """Refuse a collection that another model filled; whether it records its model at all."""
    recorded = (metadata or {}).get(MODEL_KEY)
    if recorded is not None and recorded != model:
        raise CollectionMismatchError(
            f"The collection {collection!r} was filled by {recorded!r}, and {model!r} is about "
            "to be used: their vectors cannot be compared. "
            f"Use the model that filled it: --model {recorded}"
        )
    return recorded is not None


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def is_damaged(folder: Path, collection: "Collection") -> bool:
    """Whether a process was killed while Chroma wrote the index of a collection.

    Chroma keeps records and the newest vectors in a database, safe from that, and writes its index
    of older vectors in place, file by file. Cut off in the middle, these files contradict each
    other: loading them ends the process, or fills the disk (chroma-core/chroma issue 7510). Even
    counting rows loads them; renaming and deleting the collection does not.
    """
    database = (folder / "chroma.sqlite3").resolve()
    wanted = "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
            row = opened.execute(wanted, [str(collection.id)]).fetchone()
    except sqlite3.Error:  # Chroma keeps it in another way
        return False
    if row is None or not _looks_torn(index := folder / str(row[0])):
        return False
    before = _newest(index)
    time.sleep(_PATIENCE)
    return _looks_torn(index) and _newest(index) == before


def _looks_torn(index: Path) -> bool:
    last = index / _LAST
    if not last.is_file():
        return False  # nothing was written to its end yet: all vectors are in the database
    with last.open("rb") as pickle:  # which is not read but for its end
        pickle.seek(max(last.stat().st_size - 1, 0))
        complete = pickle.read() == _END_OF_PICKLE
    return not complete or _newest(index) > last.stat().st_mtime_ns


def _newest(index: Path) -> int:
    """When any of the files that are not the last was written."""
    return max((file.stat().st_mtime_ns for file in index.glob("*.bin")), default=0)
