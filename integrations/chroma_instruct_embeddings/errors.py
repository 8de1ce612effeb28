"""What Chroma raises, in the words of this project; everything unknown passes through."""

import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from chromadb import Collection
from chromadb.api.base_http_client import BaseHTTPClient
from chromadb.errors import ChromaError, NotFoundError
from pydantic import ValidationError

from instruct_embeddings._printable import hide_secrets, redact
from instruct_embeddings.adapters import unreachable, wrong_dimension
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnreachableCollectionError,
)

_DIMENSIONS = re.compile(r"dimension of (\d+), got (\d+)")
# How an index that was read before another process wrote says that it lags behind the records.
_STALE = ("error finding id", "nothing found on disk")
_SHOWN = 200


class AnswerError(ValueError):
    """A server answered with JSON of another form than Chroma's."""


# What Chroma's client fails with when it reads such an answer.
MALFORMED = (AttributeError, LookupError, TypeError, ValidationError)


@contextmanager
def translated(collection: Collection) -> Iterator[None]:
    """Translate the errors of Chroma that a user can do something about, without credentials."""
    try:
        yield
    except Exception as error:
        known = translate(error, collection)
        if known is None:
            raise
        raise known from error


def translate(error: Exception, collection: Collection) -> InstructEmbeddingsError | None:
    """The error to raise instead; None where this one, rid of credentials, should pass."""
    if isinstance(error, InstructEmbeddingsError):
        return None
    if isinstance(error, ChromaError):
        redact(error)
        return translate_chroma(error, collection.name)
    # What a client is can be seen only behind it. Without a server it is a program's mistake.
    remote = isinstance(getattr(collection, "_client", None), BaseHTTPClient)
    if not (is_of_the_connection(error) or (remote and _is_of_the_form(error))):
        return None
    redact(error)
    return unreachable(f"collection {collection.name!r}", reason(error))


@contextmanager
def reachable(address: str, timeout: float | None = None) -> Iterator[None]:
    """Raise UnreachableCollectionError where nobody answers as Chroma does."""
    try:
        yield
    except Exception as error:
        redact(error)
        if not is_of_the_connection(error):
            raise
        in_time = "" if timeout is None else f" within {timeout:g} seconds"
        raise UnreachableCollectionError(
            f"No Chroma server answers at {address}{in_time} ({reason(error)}). Check "
            "host and port, start the server or wait for it, or allow a longer timeout."
        ) from error


def is_of_the_connection(error: Exception) -> bool:
    """Whether an error says that no Chroma answered: any of httpx, whose classes share no base."""
    if any(base.__module__.partition(".")[0] == "httpx" for base in type(error).__mro__):
        return True
    # Chroma raises a bare exception for an error that is none of its own, such as a gateway's.
    return type(error) is Exception or isinstance(error, json.JSONDecodeError | AnswerError)


def _is_of_the_form(error: Exception) -> bool:
    """Whether Chroma's client has failed to read an answer; its ValueErrors refuse arguments."""
    if isinstance(error, MALFORMED):
        return True
    # But one: it turns lists into arrays where it transforms an answer.
    last = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, ValueError) and last.name.startswith("_transform")


def reason(error: Exception) -> str:
    """The class and the start of the message of an error, in one line, without credentials."""
    message = hide_secrets(" ".join(str(error).split()))[:_SHOWN] or "no reason given"
    return f"{type(error).__name__}: {message}"


def translate_chroma(error: ChromaError, name: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of Chroma's; None where Chroma's own should pass."""
    message = hide_secrets(str(error))
    if dimensions := _DIMENSIONS.search(message):
        return wrong_dimension(f"collection {name!r}", *map(int, dimensions.groups()))
    if isinstance(error, NotFoundError):
        return StaleCollectionError(
            f"The collection {name!r} no longer exists under the id that was opened: it was "
            f"deleted or recreated ({message}). Open it again: client.get_collection({name!r})."
        )
    if any(sign in message.lower() for sign in _STALE):
        return StaleCollectionError(
            f"The index of collection {name!r} does not match its records: another process most "
            f"likely changed the directory after this one opened it ({message}). A Chroma "
            "directory serves one process at a time. Restart this process, or close() every "
            "client of the directory and open it again; or let all processes share one server: "
            "`chroma run --path ...` with chromadb.HttpClient."
        )
    if "too many sql variables" in message.lower():
        return ConfigError(
            f"The filter on collection {name!r} carries too many values ({message}). Chroma takes "
            "about 32,000. Split the filter, or store what it selects as one metadata value."
        )
    return None
