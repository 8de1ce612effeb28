"""What pymilvus raises, in the words of this project; everything unknown passes through."""

import re

from pymilvus.exceptions import ConnectionConfigException, MilvusException

from instruct_embeddings._printable import redact, safe_message
from instruct_embeddings.adapters import unreachable
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnsupportedCollectionError,
)

NOT_FOUND = 100
_NOT_LOADED, _NO_INDEX, _DENIED = 101, 700, 1401
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
    # What is below pymilvus, gRPC, is no dependency of ours.
    grpc = any(base.__module__.partition(".")[0] == "grpc" for base in type(error).__mro__)
    if not (grpc or isinstance(error, UnicodeError | MilvusException)):
        return None
    redact(error)
    why, code = safe_message(error), getattr(error, "code", None)
    if code == NOT_FOUND:
        return unusable(collection, f"is not there ({why})", "Look at the name and the database.")
    if code == _NOT_LOADED:
        return unusable(
            collection,
            f"is not loaded ({why}); searching and reading need its rows in memory",
            f"Call client.load_collection({collection!r}); a server that was started again does so "
            "by itself, within a minute.",
        )
    if code == _NO_INDEX:
        return no_index(collection)
    if code == _DENIED or _DENIES.search(why):
        return unusable(
            collection,
            f"may not be read ({why}); reading needs the right to describe, search and query it",
            "Look at the user and password of the address, or grant them.",
        )
    if "metric type not match" in why:
        return StaleCollectionError(
            f"The index of the collection {collection!r} is no longer what was opened ({why}). "
            "A search needs the metric that was there. Open it again."
        )
    if isinstance(error, ConnectionConfigException) or _UNREACHED.search(why):
        lite = "A Milvus Lite is one that no other process holds. "
        return unreachable(f"collection {collection!r}", why, lite)
    if isinstance(error, UnicodeError) or _FILTER.search(why):
        return ConfigError(
            f"Milvus does not take what was sent to the collection {collection!r} ({why}). Allowed "
            "are numbers of 64 bits, texts without halves of surrogate pairs, and filters in its "
            "own words that it understands. Look at the filter and the ids."
        )
    return None


def no_index(name: str) -> UnsupportedCollectionError:
    """The error for vectors that cannot be searched."""
    return unusable(
        name,
        "has no index on its vectors; a search needs one by COSINE, IP or L2",
        "Call client.create_index and client.load_collection.",
    )


def unusable(name: str, what: str, remedy: str) -> UnsupportedCollectionError:
    """The error for a collection that cannot be searched as it is."""
    return UnsupportedCollectionError(f"The collection {name!r} {what}. {remedy}")
