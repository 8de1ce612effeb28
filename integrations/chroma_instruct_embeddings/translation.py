"""What Chroma raises, in the words of this project; everything unknown passes through."""

import json
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from chromadb import Collection
from chromadb.api.base_http_client import BaseHTTPClient
from chromadb.errors import ChromaError, NotFoundError

from instruct_embeddings._redaction import hide_secrets, redact
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnreachableCollectionError,
)

_DIMENSIONS = re.compile(r"dimension of (\d+), got (\d+)")
# How an index that was read before another process wrote says that it lags behind the records.
_STALE = ("error finding id", "nothing found on disk")
_SHOWN = 200
_TRIES = 3
_Answer = TypeVar("_Answer")


class AnswerError(ValueError):
    """A server answered with JSON of another form than Chroma's."""


@contextmanager
def of_chroma() -> Iterator[None]:
    """Tell where reading the answer of a server fails on its form.

    Raises:
        AnswerError: Something that an answer of Chroma has is missing, or of another kind.
    """
    try:
        yield
    except InstructEmbeddingsError:
        raise
    except (AttributeError, LookupError, TypeError) as error:
        raise AnswerError(f"JSON of another form, {reason(error)}") from error
    except ValueError as error:
        if not _is_of_the_answer(error):
            raise
        raise AnswerError(f"JSON of another form, {reason(error)}") from error


def _is_of_the_answer(error: ValueError) -> bool:
    """Whether Chroma has failed to read an answer; its other ValueErrors refuse arguments."""
    if type(error).__module__.startswith("pydantic"):
        return True
    # It rewords some errors, and turns lists into arrays where it transforms an answer.
    if isinstance(error.__context__, AttributeError | LookupError | TypeError):
        return True
    return traceback.extract_tb(error.__traceback__)[-1].name.startswith("_transform")


@contextmanager
def translated(collection: Collection) -> Iterator[None]:
    """Translate the errors of Chroma that a user of this project can do something about.

    Raises:
        CollectionMismatchError: The vector has another dimension than the stored ones.
        StaleCollectionError: Another process changed or deleted the collection.
        UnreachableCollectionError: The server is down, or something else answers in its place.
        ConfigError: The filter carries more values than the store takes.
    """
    try:
        with of_chroma() if _is_remote(collection) else nullcontext():
            yield
    except ChromaError as error:
        redact(error)
        known = translate(error, collection.name)
        if known is None:
            raise
        raise known from error
    except Exception as error:
        if not is_of_the_connection(error):
            raise
        redact(error)
        raise UnreachableCollectionError(
            f"The server of the collection {collection.name!r} did not answer as Chroma does "
            f"({reason(error)}). Searching and fitting need a server that is up "
            "and in order. Start it, or wait for it, and call again; nothing was changed."
        ) from error


def answered(collection: Collection, ask: Callable[[], _Answer]) -> _Answer:
    """What Chroma answers; asked again where it stumbles over a row that vanishes meanwhile.

    A server gathers ids first and their vectors later, and fails where a row was deleted in
    between. An index that is truly stale fails each time.

    Raises:
        InstructEmbeddingsError: See `translated`.
    """
    for _ in range(_TRIES - 1):
        with suppress(StaleCollectionError), translated(collection):
            return ask()
    with translated(collection):
        return ask()


def reason(error: Exception) -> str:
    """The class and the start of the message of an error, in one line, without credentials."""
    message = hide_secrets(" ".join(str(error).split()))[:_SHOWN] or "no reason given"
    return f"{type(error).__name__}: {message}"


def is_of_the_connection(error: Exception) -> bool:
    """Whether an error says that no Chroma answered: any of httpx, whose classes share no base."""
    if any(base.__module__.partition(".")[0] == "httpx" for base in type(error).__mro__):
        return True
    # Chroma raises a bare exception for an error that is none of its own, such as a gateway's.
    return type(error) is Exception or isinstance(error, json.JSONDecodeError | AnswerError)


def _is_remote(collection: Collection) -> bool:
    """Whether a server answers for a collection; all else are mistakes of a program."""
    # What a client is can be seen only behind it.
    behind: Any = collection
    return isinstance(getattr(behind, "_client", None), BaseHTTPClient)


def translate(error: ChromaError, name: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of Chroma's.

    Args:
        error: What Chroma raised.
        name: Name of the collection, for the message.

    Returns:
        The translated error, `None` where Chroma's own should pass.
    """
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
