"""Clients of Qdrant: from an address, or the one behind a store of LangChain or LlamaIndex."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from qdrant_client import QdrantClient

from instruct_embeddings._addresses import shown
from instruct_embeddings._printable import safe_message
from instruct_embeddings.adapters import cannot_read, kind_behind
from instruct_embeddings.errors import ConfigError, UnsupportedCollectionError

_TIMEOUT = 60
_ADDRESSES = (
    "qdrant://host:6333, qdrant://KEY@host:6333?ssl=true and qdrant:FOLDER, the folder of a "
    "client in local mode"
)
_LANGCHAIN, _LLAMA_INDEX = "langchain_qdrant", "llama_index.vector_stores.qdrant"
_HOSTS = {"Qdrant": (_LANGCHAIN,), "QdrantVectorStore": (_LANGCHAIN, _LLAMA_INDEX)}


def open_client(address: str) -> QdrantClient:
    """A client for an address; a server is not asked yet, a folder is read.

    Without a key in the address the environment variable QDRANT_API_KEY gives one.

    Raises:
        ConfigError: It is no address of Qdrant.
        UnsupportedCollectionError: The folder holds none, or is in use.
    """
    scheme, _, rest = address.partition(":")
    if scheme != "qdrant" or not rest:
        raise _unknown(address)
    if not rest.startswith("//"):
        return _local(Path(rest))
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.query not in ("", "ssl=true", "ssl=false"):
        raise _unknown(address)
    kind = "https" if parts.query == "ssl=true" else "http"
    key = parts.password or parts.username or ""
    return QdrantClient(
        url=f"{kind}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}",
        api_key=unquote(key) or os.environ.get("QDRANT_API_KEY"),
        timeout=_TIMEOUT,
        check_compatibility=False,  # would ask at once
    )


def _local(folder: Path) -> QdrantClient:
    # A client would make the folder.
    if not (folder / "meta.json").is_file():
        raise UnsupportedCollectionError(
            f"There is no Qdrant in the folder {str(folder)!r}. Allowed is one that "
            "QdrantClient(path=...) has written. Check the path; a server's storage is reached "
            "through the server, as qdrant://host:6333."
        )
    try:
        return QdrantClient(path=str(folder))
    except (RuntimeError, ValueError, OSError) as error:
        raise UnsupportedCollectionError(
            f"The folder {str(folder)!r} cannot be opened ({safe_message(error)}). It serves one "
            "client at a time, in local mode. Close the other, or pass that one; several processes "
            "need a server."
        ) from error


def _unknown(address: str) -> ConfigError:
    return ConfigError(
        f"The address {shown(address)!r} is none of Qdrant. Allowed are {_ADDRESSES}. Correct it."
    )


def behind(store: Any) -> dict[str, Any]:
    """Arguments of `QdrantVectors` for the collection behind a store of a host.

    Raises:
        UnsupportedCollectionError: It is none of Qdrant, or has no synchronous client.
    """
    host = kind_behind(store, _HOSTS)
    if host == _LANGCHAIN:
        return {
            "source": store.client,
            "collection": store.collection_name,
            "vector_name": store.vector_name or "",
            "text_key": store.content_payload_key,
            "metadata_key": store.metadata_payload_key,
        }
    if host == _LLAMA_INDEX and store._client is not None:
        return {
            "source": store._client,
            "collection": store.collection_name,
            "vector_name": store.dense_vector_name,
            "text_key": None,
            "metadata_key": None,
        }
    raise cannot_read(
        store,
        "langchain_qdrant's QdrantVectorStore and Qdrant, and LlamaIndex's QdrantVectorStore with "
        "a synchronous client",
        "make QdrantVectors(client, collection)",
    )
