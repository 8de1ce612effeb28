"""What pymilvus raises, in the words of this project; everything unknown passes through."""

import re
from collections.abc import Sequence

from pymilvus.exceptions import ConnectionConfigException, MilvusException

from instruct_embeddings._printable import redact, safe_message
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)

_NOT_FOUND, _NOT_LOADED, _NO_INDEX, _DENIED = 100, 101, 700, 1401
_FILTER = re.compile(
    r"(?i)cannot parse expression|failed to create query plan|expected |unexpected |unknown escape"
    r"|incompatible types|filter|expr"
)
_DENIES = re.compile(r"(?i)auth check|unauthenticated|permission|privilege")
_UNREACHED = re.compile(
    r"(?i)server unavailable|retry timeout|deadline|UNAVAILABLE|connection|timed? ?out"
    r"|Open local milvus"
)


def translate(error: Exception, collection: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of the client's; None where its own should pass.

    It hides credentials in the error.
    """
    if isinstance(error, UnicodeError):
        return _unreadable(collection, error)
    if not isinstance(error, MilvusException) and not _of_grpc(error):
        return None
    redact(error)
    why, code = safe_message(error), getattr(error, "code", None)
    if code == _NOT_FOUND:
        return no_collection(collection, (), why)
    if code == _NOT_LOADED:
        return UnsupportedCollectionError(
            f"The collection {collection!r} is not loaded ({why}). Searching and reading need its "
            f"rows in memory. Call client.load_collection({collection!r}); a server that was "
            "started again does so by itself, within a minute."
        )
    if code == _NO_INDEX:
        return no_index(collection)
    if code == _DENIED or _DENIES.search(why):
        return UnsupportedCollectionError(
            f"The collection {collection!r} may not be read ({why}). Reading needs the right to "
            "describe, search and query it. Look at the user and password of the address, or "
            "grant them."
        )
    if "metric type not match" in why:
        return StaleCollectionError(
            f"The index of the collection {collection!r} is no longer what was opened ({why}). "
            "A search needs the metric that was there. Open it again."
        )
    if isinstance(error, ConnectionConfigException) or _UNREACHED.search(why):
        return UnreachableCollectionError(
            f"The Milvus of the collection {collection!r} did not answer ({why}). Searching and "
            "fitting need one that is up and in reach, and a Milvus Lite that no other process "
            "holds. Start it, or look at the address, and call again; nothing was changed."
        )
    return _unreadable(collection, error) if _FILTER.search(why) else None


def _of_grpc(error: Exception) -> bool:
    """Whether it comes from below pymilvus, whose dependency is none of ours."""
    return any(base.__module__.partition(".")[0] == "grpc" for base in type(error).__mro__)


def no_collection(name: str, names: Sequence[str], why: str = "") -> UnsupportedCollectionError:
    """The error for a collection that is not there."""
    there = f"There are {sorted(names)}" if names else f"It is not known{why and f' ({why})'}"
    return UnsupportedCollectionError(
        f"There is no collection {name!r}. {there}. Look at the name and the database."
    )


def no_index(name: str) -> UnsupportedCollectionError:
    """The error for vectors that cannot be searched."""
    return UnsupportedCollectionError(
        f"The vectors of the collection {name!r} have no index. A search needs one by COSINE, IP "
        "or L2. Call client.create_index and client.load_collection."
    )


def wrong_dimension(name: str, stored: int, given: int) -> CollectionMismatchError:
    """The error for a query vector of another length than those stored."""
    return CollectionMismatchError(
        f"The query vector has {given} dimensions, the collection {name!r} stores vectors of "
        f"{stored}. Both must come from the same embedding model. Embed queries with the model "
        "that embedded the collection."
    )


def _unreadable(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"Milvus does not take what was sent to the collection {name!r} ({safe_message(error)}). "
        "Allowed are numbers of 64 bits, texts without halves of surrogate pairs, and filters in "
        "its own words that it understands. Look at the filter and the ids."
    )
