"""What Chroma raises, in the words of this project; everything unknown passes through."""

import inspect
import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from chromadb import Collection
from chromadb.api.base_http_client import BaseHTTPClient
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.errors import ChromaError, NotFoundError

from instruct_embeddings._printable import hide_secrets, redact
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)

_DIMENSIONS = re.compile(r"dimension of (\d+), got (\d+)")
# How an index that was read before another process wrote says that it lags behind the records.
_STALE = ("error finding id", "nothing found on disk")
_SHOWN = 200
_ACCEPTED = "a chromadb.Collection, a langchain_chroma.Chroma or a LlamaIndex ChromaVectorStore"


class AnswerError(ValueError):
    """A server answered with JSON of another form than Chroma's."""


@contextmanager
def translated(collection: Collection) -> Iterator[None]:
    """Translate the errors of Chroma that a user can do something about; see `translate`."""
    try:
        yield
    except Exception as error:
        known = translate(error, collection)
        if known is None:
            raise
        raise known from error


def translate(error: Exception, collection: Collection) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of Chroma's; None where its own should pass.

    It hides credentials in the error.
    """
    if isinstance(error, InstructEmbeddingsError):
        return None
    found = (malformed(error) if _is_remote(collection) else None) or error
    if isinstance(found, ChromaError):
        redact(error)
        return translate_chroma(found, collection.name)
    if not is_of_the_connection(found):
        return None
    redact(error)
    return UnreachableCollectionError(
        f"The server of the collection {collection.name!r} did not answer as Chroma does "
        f"({reason(found)}). Searching and fitting need a server that is up and in order. "
        "Start it, or wait for it, and call again; nothing was changed."
    )


def malformed(error: Exception) -> AnswerError | None:
    """What to raise where reading the answer of a server has failed on its form."""
    if isinstance(error, InstructEmbeddingsError | AnswerError):
        return None
    failed = isinstance(error, AttributeError | LookupError | TypeError)
    if failed or (isinstance(error, ValueError) and _is_of_the_answer(error)):
        return AnswerError(f"JSON of another form, {reason(error)}")
    return None


def _is_of_the_answer(error: ValueError) -> bool:
    """Whether Chroma has failed to read an answer; its other ValueErrors refuse arguments."""
    if type(error).__module__.startswith("pydantic"):
        return True
    # It rewords some errors, and turns lists into arrays where it transforms an answer.
    if isinstance(error.__context__, AttributeError | LookupError | TypeError):
        return True
    return traceback.extract_tb(error.__traceback__)[-1].name.startswith("_transform")


def is_of_the_connection(error: Exception) -> bool:
    """Whether an error says that no Chroma answered: any of httpx, whose classes share no base."""
    if any(base.__module__.partition(".")[0] == "httpx" for base in type(error).__mro__):
        return True
    # Chroma raises a bare exception for an error that is none of its own, such as a gateway's.
    return type(error) is Exception or isinstance(error, json.JSONDecodeError | AnswerError)


def reason(error: Exception) -> str:
    """The class and the start of the message of an error, in one line, without credentials."""
    message = hide_secrets(" ".join(str(error).split()))[:_SHOWN] or "no reason given"
    return f"{type(error).__name__}: {message}"


def _is_remote(collection: Collection) -> bool:
    """Whether a server answers for a collection; all else are mistakes of a program."""
    # What a client is can be seen only behind it.
    return isinstance(getattr(collection, "_client", None), BaseHTTPClient)


def translate_chroma(error: ChromaError, name: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of Chroma's; None where Chroma's own should pass."""
    message = hide_secrets(str(error))
    if dimensions := _DIMENSIONS.search(message):
        stored, given = dimensions.groups()
        return CollectionMismatchError(
            f"The query vector has {given} dimensions, the collection {name!r} stores vectors of "
            f"{stored}. Both must come from the same embedding model. Embed queries with the "
            "model that embedded the collection."
        )
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


def unsupported(source: object, found: object) -> UnsupportedCollectionError:
    """The error for a source behind which something else than a collection was found."""
    behind = "" if found is source else f" behind a {kind_of(source)}"
    if isinstance(found, AsyncCollection) or inspect.iscoroutine(found):
        return UnsupportedCollectionError(
            f"Asynchronous Chroma clients are not supported, got a {kind_of(found)}{behind}. "
            f"Accepted is {_ACCEPTED} made with a synchronous client, such as HttpClient."
        )
    hint = (
        " A client holds many collections: pass client.get_collection(name)."
        if hasattr(found, "get_collection")
        else " Pass one of these, or write a VectorCollection for another store."
    )
    return UnsupportedCollectionError(
        f"Cannot read vectors from a {kind_of(found)}{behind}. Accepted is {_ACCEPTED}.{hint}"
    )


def kind_of(value: object) -> str:
    """Full name of the class of a value."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
