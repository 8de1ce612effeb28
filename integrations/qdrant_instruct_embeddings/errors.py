"""What Qdrant's clients raise, in the words of this project; everything unknown passes through."""

import json
import re
import traceback

from qdrant_client.http.exceptions import UnexpectedResponse

from instruct_embeddings._printable import hide_secrets, redact, safe_message
from instruct_embeddings._reading import cut
from instruct_embeddings.adapters import unreachable, wrong_dimension
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnsupportedCollectionError,
)

_DIMENSIONS = re.compile(r"expected dim: (\d+), got (\d+)")
# Of gRPC, by the names of its codes.
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
}
_REFUSED = (400, 413, 422)


def translate(error: Exception, collection: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of the client's; None where its own should pass.

    It hides credentials in the error.
    """
    status, message = _answer(error)
    if status is None or isinstance(error, InstructEmbeddingsError):
        return None
    redact(error)
    if dimensions := _DIMENSIONS.search(message):
        return wrong_dimension(f"collection {collection!r}", *map(int, dimensions.groups()))
    if status == 404 or "not found" in message:
        return StaleCollectionError(
            f"The collection {collection!r} is no longer what was opened ({message}). A search "
            "needs the collection and the vectors that were there. Open it again."
        )
    if status in (401, 403):
        return UnsupportedCollectionError(
            f"The server does not let the collection {collection!r} be read ({message}). Reading "
            "needs a key for it. Pass a client with such a key, or write it into the address."
        )
    if status in _REFUSED:
        return ConfigError(
            f"Qdrant does not take what was asked of the collection {collection!r} ({message}). "
            "Allowed is what its version and its strict mode allow: filters on texts need Qdrant "
            "1.20. Look at the filter, index what it asks for, or ask for fewer rows."
        )
    return unreachable(f"collection {collection!r}", message)


def _answer(error: Exception) -> tuple[int | None, str]:
    """Status of an answer, 0 where there was none, and what it says; None where it is another's."""
    if isinstance(error, UnexpectedResponse):
        try:
            said = json.loads(error.content)["status"]["error"]
        except (ValueError, TypeError, LookupError):
            said = error.content.decode(errors="replace")
        said = hide_secrets(" ".join(str(said).split()))
        return error.status_code or 0, cut(f"{error.status_code}: {said}")
    if _is_of(error, "qdrant_client"):  # too many requests, something of httpx, or no Qdrant
        return 0, safe_message(getattr(error, "source", error))
    if _is_of(error, "grpc"):
        code = getattr(getattr(error, "code", lambda: None)(), "name", "")
        return _STATUS.get(code, 0), f"{code}, {safe_message(error)}"
    # Local mode raises bare ones, and so does what reads answers.
    if isinstance(error, AssertionError | RuntimeError | ValueError) and _of_the_client(error):
        refused = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)
        return (400 if refused else 0), safe_message(error)
    return None, ""


def _is_of(error: Exception, package: str) -> bool:
    return any(base.__module__.partition(".")[0] == package for base in type(error).__mro__)


def _of_the_client(error: Exception) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(f.f_globals.get("__name__")).startswith("qdrant_client.") for f, _ in frames)
