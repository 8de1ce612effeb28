"""Requests to a server of Milvus, or to Milvus Lite in this process."""

import os
import sys
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from pymilvus import MilvusClient

from instruct_embeddings._threads import make_anew_after_fork
from instruct_embeddings.errors import ConfigError, UnsupportedCollectionError

_ADDRESSES = (
    "milvus://host:19530/database, with ?ssl=true where it is reached by https, http://host:19530, "
    "https://user:password@host:19530/database and the path of a .db"
)
# Milvus Lite hangs up on a client that pings every ten seconds, as pymilvus does.
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1}


class Requests:
    """Requests about one collection; each ends in time. Safe to share by threads.

    Attributes:
        collection: Its name.
    """

    def __init__(
        self, source: object, collection: str, timeout: float, *, create: bool = False
    ) -> None:
        """`source` is a client or an address; nothing is connected yet.

        With `create` a Milvus Lite that is not there is made.
        """
        self.collection, self._timeout, self._create = collection, timeout, create
        self._given = source if isinstance(source, MilvusClient) else None
        self._options = {} if self._given else client_options(source)
        self._client: Any = self._given
        self._lock = Lock()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Leave an own client to the parent of a forked process: closing it may disturb that."""
        self._of_parent, self._client = self._client, self._given
        self._lock = Lock()

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the client says of the collection."""
        return self.ask_server(method, self.collection, *arguments, **options)

    def ask_server(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the client says."""
        return getattr(self._connected(), method)(*arguments, timeout=self._timeout, **options)

    def lite_folder(self, name: str) -> Path:
        """Where Milvus Lite keeps a collection, which has no number there.

        Raises:
            UnsupportedCollectionError: It runs in another process.
        """
        client = self._connected()
        port = int(client._get_connection().server_address.rpartition(":")[2])
        lite = sys.modules.get("milvus_lite.server_manager")
        servers = lite.server_manager_instance._servers if lite else {}
        for path, (_, _, served) in list(servers.items()):
            if served == port:
                database = getattr(getattr(client, "_config", None), "db_name", "")
                within = Path("databases", database) if database not in ("", "default") else Path()
                return Path(path, within, "collections", name)
        raise UnsupportedCollectionError(
            f"The collection {self.collection!r} lies in a Milvus Lite of another process, which "
            "tells nothing by which one that was made anew could be noticed. Allowed are a server, "
            "and Milvus Lite in this process. Pass the path of its .db."
        )

    def close(self) -> None:
        """End the connection; it is made again when it is needed."""
        with self._lock:
            if self._given is None and self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                if (path := self._options["uri"]).endswith(".db") and not self._create:
                    _check_lite(Path(path))
                # Not one that pymilvus keeps for all with this address: it may be a parent's.
                self._client = MilvusClient(dedicated=True, timeout=self._timeout, **self._options)
            return self._client


def client_options(source: object) -> dict[str, Any]:
    """An address as arguments of the client, the user and password apart.

    Without these the environment variable MILVUS_TOKEN gives `user:password`, or a token.
    """
    if isinstance(source, Path):
        source = str(source)
    if not isinstance(source, str) or not source:
        raise ConfigError(
            f"source={type(source).__name__} is no Milvus. Allowed is a pymilvus.MilvusClient or "
            f"an address: {_ADDRESSES}. Pass one of these."
        )
    scheme, mark, rest = source.partition("://")
    if not mark:
        path = source.removeprefix("milvus:")
        if not path.endswith(".db"):
            raise ConfigError(
                f"The path {path!r} is none of Milvus Lite, whose names end in .db. Allowed are "
                f"{_ADDRESSES}. Correct it."
            )
        return {"uri": path, "grpc_options": _NO_PINGS}
    rest, _, query = rest.partition("?")
    if scheme == "milvus":
        scheme = "https" if query == "ssl=true" else "http"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port, host = parts.port or (443 if parts.scheme == "https" else 19530), parts.hostname
    except ValueError:  # its message may hold the password
        host = None
    known = query in ("", "ssl=true", "ssl=false")
    if not host or parts.scheme not in ("http", "https", "tcp") or not known:
        raise ConfigError(
            f"The address with the scheme {scheme!r} is none of Milvus. Allowed are {_ADDRESSES}. "
            "Correct it."
        )
    shown = f"[{host}]" if ":" in host else host
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return {
        "uri": f"{parts.scheme}://{shown}:{port}",
        "token": f"{user}:{password}" if password else user or os.environ.get("MILVUS_TOKEN", ""),
        "db_name": unquote(parts.path.strip("/")),
    }


def _check_lite(path: Path) -> None:
    """Refuse what Milvus Lite would make anew, or fail on: a collection is only read."""
    if not path.exists():
        raise UnsupportedCollectionError(
            f"There is no Milvus Lite at {str(path)!r}. It must be there already. Look at the path."
        )
    if not (path / "collections").is_dir():
        raise UnsupportedCollectionError(
            f"{str(path)!r} is no folder of Milvus Lite 3 or newer: it holds no collections. Older "
            "versions kept one file. Copy its rows into a new one, or look at the path."
        )
