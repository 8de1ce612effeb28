"""Addresses of stores, `scheme:FOLDER` or `scheme://host` of a server, and the cache folder."""

import os
import re
import sys
from pathlib import Path

from instruct_embeddings._printable import HIDDEN, hide_secrets

# All before the last @, since a user and a password may hold any character; where an option that
# is a secret holds an @, that option too.
_USER = re.compile(
    r"(?<=://)(?:.*[?&]\w*(?:key|token|secret|password)=[^&]*@[^&]*|.*(?=@))", re.IGNORECASE
)

# How those look whose vectors are read.
KNOWN = (
    "chroma:FOLDER, chroma://host:8000, milvus:FILE.db, milvus://host:19530, qdrant:FOLDER, "
    "qdrant://host:6333, postgresql://user@host:5432/database"
)


def scheme_of(address: str) -> str:
    """The scheme in small letters, empty where there is none.

    Without the driver that SQLAlchemy names too: postgresql+psycopg://
    """
    scheme, colon, _ = address.partition(":")
    return scheme.partition("+")[0].lower() if colon else ""


def place_of(address: str) -> str:
    """What stands behind the scheme: the folder or file where the address is of no server."""
    return address.partition(":")[2]


def plain(address: str) -> str:
    """An address as adapters and clients know it, in which the scheme is that of `scheme_of`."""
    return f"{scheme_of(address)}:{place_of(address)}"


def is_server(address: str) -> bool:
    """Whether an address leads to a server, not to a folder that this process opens alone."""
    return place_of(address).startswith("//")


def shown(address: str) -> str:
    """An address for messages, without its secrets."""
    return hide_secrets(_USER.sub(HIDDEN, address))


def cache_folder() -> Path:
    """Where this package keeps what can be made again: in the folder of the user for that."""
    if sys.platform == "win32":
        own = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        own = Path.home() / "Library" / "Caches"
    else:
        own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) / "instruct-embeddings"
