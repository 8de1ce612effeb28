"""Chroma databases: a folder or a running server."""

import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
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
    from chromadb.config import Settings

MODEL_KEY = "instruct_embeddings:model"
_DEFAULT_PORT = 8000
# The last file of an index to be written: where another one is newer, writing was cut off.
_LAST = "index_metadata.pickle"
_END_OF_PICKLE = b"."
# Seconds in which a process that is still writing shows it.
_PATIENCE = 1.0


@dataclass
class Database:
    """A Chroma database, in a folder (`path`) or on a server (`host`).

    A context manager, which closes its connections. None stands for Chroma's defaults. `headers`
    are never shown, since they may hold secrets.
    """

    path: Path | None = None
    host: str | None = None
    port: int = _DEFAULT_PORT
    ssl: bool = False
    tenant: str | None = None
    name: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float | None = None
    _client: "ClientAPI | None" = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def from_options(
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
    ) -> "Database":
        """The database that the options of a command name; a usage error where they do not."""
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
        """The options that name it on a command line."""
        if self.path is not None:
            words = ["--path", str(self.path)]
        else:
            words = ["--host", str(self.host), "--port", str(self.port), *["--ssl"] * self.ssl]
        for name, value in (("--tenant", self.tenant), ("--database", self.name)):
            words += [name, value] if value else []
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
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self.path is None:
            require("chroma_instruct_embeddings.client").close_client(self._client)
        self._client = None

    def client(self, *, create: bool = False) -> "ClientAPI":
        """The connection, made at the first call; `create` makes a folder into a database."""
        if self._client is None:
            settings = require("chromadb.config", extra="chroma").Settings(
                anonymized_telemetry=False
            )
            if self.path is None:
                self._client = self._server(settings)
            else:
                self._client = self._folder(self.path, settings, create=create)
        return self._client

    def _folder(self, path: Path, settings: "Settings", *, create: bool) -> "ClientAPI":
        chromadb = require("chromadb", extra="chroma")
        if not create and not (path / "chroma.sqlite3").is_file():
            raise CollectionError(
                f"There is no Chroma database in {str(path)!r}: a folder with a file "
                "chroma.sqlite3 is expected. Name that folder with --path, or make one with: "
                f"instruct-embeddings index FILE --path {path} --collection NAME"
            )
        try:
            client: ClientAPI = chromadb.PersistentClient(
                str(path), settings=settings, **self._names
            )
        except (ValueError, OSError, chromadb.errors.ChromaError) as exc:
            raise CollectionError(
                f"The Chroma database in {str(path)!r} cannot be opened: {exc}. Check that "
                f"the folder can be written and was made by Chroma{self._check_names}."
            ) from exc
        return client

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
        named = {"tenant": self.tenant, "database": self.name}
        return {name: value for name, value in named.items() if value}

    @property
    def _check_names(self) -> str:
        named = ", ".join(f"{name} {value!r}" for name, value in self._names.items())
        return f", or check {named}" if named else ""

    def reached(self) -> AbstractContextManager[None]:
        """For requests that belong to no collection: an error of this database if none answers."""
        client = require("chroma_instruct_embeddings.client", extra="chroma")
        found: AbstractContextManager[None] = client.reachable(str(self), self.timeout)
        return found

    def collection(self, name: str) -> "Collection":
        """Open a collection that exists and whose index is not damaged."""
        found = self.find(name)
        if found is None:
            raise CollectionError(f"There is no collection {name!r} in {self}. {self._held(name)}")
        self.check_index(found)
        return found

    def _held(self, missing: str) -> str:
        with self.reached():
            names = sorted(collection.name for collection in self.client().list_collections())
        if names:
            return f"It holds: {', '.join(names)}. Name one of them with --collection."
        make = f"instruct-embeddings index FILE {self.flags} --collection {shlex.quote(missing)}"
        return f"It holds none. Make one with: {make}"

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
        space = "cosine"
        metadata: dict[str, Any] = {}
        if like is not None:
            space = require("chroma_instruct_embeddings.vectors").space_of(like)
            # Settings of the index that older versions of Chroma kept there are no metadata.
            found = (like.metadata or {}).items()
            metadata = {key: value for key, value in found if not key.startswith("hnsw:")}
        configuration: Any = {"hnsw": {"space": space}}
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


def is_damaged(folder: Path, collection: "Collection") -> bool:
    """Whether a process was killed while Chroma wrote the index of a collection.

    Chroma keeps records and the newest vectors in a database, safe from that, and writes its index
    of older vectors in place, file by file. Cut off in the middle, these files contradict each
    other: loading them ends the process, or fills the disk (chroma-core/chroma issue 7510). Even
    counting rows loads them; renaming and deleting the collection does not.
    """
    index = _index(folder, collection)
    if index is None or not _looks_torn(index):
        return False
    before = _newest(index)
    time.sleep(_PATIENCE)
    return _looks_torn(index) and _newest(index) == before


def _index(folder: Path, collection: "Collection") -> Path | None:
    """The folder of a collection's index; None where Chroma keeps it in another way."""
    database = folder / "chroma.sqlite3"
    if not database.is_file():
        return None
    wanted = "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'"
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as found:
            row = found.execute(wanted, [str(collection.id)]).fetchone()
    except sqlite3.Error:
        return None
    return folder / str(row[0]) if row else None


def _looks_torn(index: Path) -> bool:
    last = index / _LAST
    if not last.is_file():
        return False  # nothing was written to its end yet: all vectors are in the database
    return _newest(index) > last.stat().st_mtime_ns or not _is_complete(last)


def _newest(index: Path) -> int:
    """When any of the files that are not the last was written."""
    return max((file.stat().st_mtime_ns for file in index.glob("*.bin")), default=0)


def _is_complete(last: Path) -> bool:
    """Whether a pickle, which is not read, ends as they do."""
    if not last.stat().st_size:
        return False
    with last.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == _END_OF_PICKLE
