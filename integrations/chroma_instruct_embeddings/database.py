"""A Chroma database by its address: a folder or a running server."""

import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import chromadb
import httpx
from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError

from chroma_instruct_embeddings.client import close_client, http_client
from chroma_instruct_embeddings.damage import is_damaged
from chroma_instruct_embeddings.errors import reachable
from instruct_embeddings.errors import CollectionError, ConfigError, UnreachableCollectionError

_PORT = 8000
_FORMS = (
    "chroma:FOLDER for a folder, chroma://host:8000 for a server, with ?ssl=true, &tenant=NAME "
    "and &database=NAME where they are needed"
)


class ChromaDatabase:
    """A Chroma database, and its connection, which is made when it is first needed.

    A context manager, which closes the connections to a server.

    Args:
        address: `chroma:FOLDER`, or `chroma://host:8000?ssl=true` for a server; each with
            `tenant=NAME` and `database=NAME` behind the question mark.
        headers: Sent to a server with each request; never shown, since they may hold secrets.
        timeout: Most seconds to wait for an answer of a server; None for 120.

    Raises:
        ConfigError: The address is another, or a folder has what belongs to a server.
    """

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.address, self.timeout = address, timeout
        self._headers = dict(headers or {})
        self._client: ClientAPI | None = None
        self.path: Path | None = None
        self.host, self.port = "", _PORT
        scheme, _, rest = address.partition(":")
        place, _, asked = rest.partition("?")
        options = dict(parse_qsl(asked, keep_blank_values=True))
        ssl = options.pop("ssl", "false")
        self.ssl = ssl == "true"
        self.names = {name: options.pop(name) for name in ("tenant", "database") if name in options}
        if scheme.lower() != "chroma" or not place or not all(self.names.values()):
            raise _malformed("is none")
        if options or ssl not in ("true", "false"):
            raise _malformed(f"has the option {min(options)!r}" if options else f"has ssl={ssl!r}")
        if not place.startswith("//"):
            self.path = Path(place)
            if self.ssl or headers or timeout is not None:
                raise _malformed("is a folder, which has neither ssl nor headers nor a timeout")
            return
        if "@" in place:
            raise _malformed(
                "holds a user or a password, which Chroma takes from "
                "CHROMA_CLIENT_AUTH_CREDENTIALS alone"
            )
        try:
            parts = urlsplit(f"chroma:{place}")
            host, self.port = parts.hostname or "", parts.port or self.port
        except ValueError:
            raise _malformed("has no port from 1 to 65535") from None
        self.host = f"[{host}]" if ":" in host else host
        if not self.host or parts.path.strip("/"):
            raise _malformed("names no host, or more than host and port")

    def __str__(self) -> str:
        """The folder, or host and port."""
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"

    def __enter__(self) -> "ChromaDatabase":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections to a server; they are made again when they are needed."""
        if self._client is not None and self.path is None:
            close_client(self._client)
        self._client = None

    def client(self, *, create: bool = False) -> ClientAPI:
        """The connection, made at the first call; `create` makes a folder into a database.

        Raises:
            CollectionError: There is no such database, or it cannot be opened.
            UnreachableCollectionError: No server answers.
        """
        if self._client is None:
            self._client = self._connect(create=create)
        return self._client

    def _connect(self, *, create: bool) -> ClientAPI:
        if self.path is not None and not create and not (self.path / "chroma.sqlite3").is_file():
            raise CollectionError(
                f"There is no Chroma database in {str(self.path)!r}: a folder with a file "
                "chroma.sqlite3 is expected. Name that folder, or make one with: "
                f"{self._index('NAME')}"
            )
        settings = Settings(anonymized_telemetry=False)
        named = "".join(f", or check {name} {text!r}" for name, text in self.names.items())
        try:
            if self.path is not None:
                found: ClientAPI = chromadb.PersistentClient(
                    str(self.path), settings=settings, **self.names
                )
                return found
            limit = {} if self.timeout is None else {"timeout": self.timeout}
            options = {"ssl": self.ssl, "headers": self._headers, "settings": settings}
            return http_client(self.host, self.port, **options, **limit, **self.names)  # type: ignore[arg-type]
        except UnreachableCollectionError:
            raise
        except (ValueError, OSError, ChromaError) as exc:
            if self.path is not None:
                raise CollectionError(
                    f"The Chroma database in {str(self.path)!r} cannot be opened: {exc}. Check "
                    f"that the folder can be written and was made by Chroma{named}."
                ) from exc
            lost = isinstance(exc.__context__, httpx.ConnectError)  # which Chroma's client rewords
            raise (UnreachableCollectionError if lost else CollectionError)(
                f"No Chroma server answers at {self} ({exc}). Start one with: chroma run "
                f"--path FOLDER --host {self.host} --port {self.port}{named}"
            ) from exc

    def reached(self) -> AbstractContextManager[None]:
        """For requests that belong to no collection: an error of this database if none answers."""
        return reachable(str(self), self.timeout)

    def collection(self, name: str) -> Collection:
        """Open a collection that exists and whose index is not damaged.

        Raises:
            CollectionError: There is none of that name, or loading it would end this process.
        """
        found = self.find(name)
        if found is not None:
            self.check_index(found)
            return found
        with self.reached():
            names = sorted(collection.name for collection in self.client().list_collections())
        held = (
            f"It holds: {', '.join(names)}. Name one of them."
            if names
            else f"It holds none. Make one with: {self._index(name)}"
        )
        raise CollectionError(f"There is no collection {name!r} in {self}. {held}")

    def find(self, name: str) -> Collection | None:
        """A collection, if there is one of that name; its index is not looked at."""
        client = self.client()
        with self.reached():
            try:
                # Vectors are always given, so the recorded embedding function need not be built.
                return client.get_collection(name, embedding_function=None)
            except NotFoundError:
                return None

    def check_index(self, collection: Collection) -> None:
        """Stop before Chroma loads an index that would end this process."""
        if self.is_damaged(collection):
            raise CollectionError(
                f"The index of the collection {collection.name!r} in {str(self.path)!r} is damaged:"
                " a process was killed while Chroma wrote it, and loading it may end this one. "
                "Embed the rows of your files anew with: "
                f"{self._index(collection.name, '--rebuild ')}"
            )

    def is_damaged(self, collection: Collection) -> bool:
        """Whether the index of a collection was half written; never so on a server."""
        return self.path is not None and is_damaged(self.path, collection)

    def _index(self, name: str, option: str = "") -> str:
        place = f"--store {shlex.quote(self.address)} --collection {shlex.quote(name)}"
        return f"instruct-embeddings index FILE {option}{place}"


def _malformed(what: str) -> ConfigError:
    # The address is not repeated: it may hold a password where none belongs.
    return ConfigError(f"The address of a Chroma database {what}. Allowed are {_FORMS}.")
